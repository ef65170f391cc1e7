import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pan_mm.deploy.server.limits import Deadline, Gate, Refusal, Turns


class TestGate:
    def test_takes_one_and_those_who_wait(self):
        gate = Gate(waiting=1)
        with gate.place(), gate.place():
            with pytest.raises(Refusal, match='busy') as refusal, gate.place():
                pass
            assert refusal.value.status == 503
        with gate.place():  # all places are free again
            pass

    def test_one_at_a_time(self):
        gate = Gate(waiting=9)
        inside, most = [], []

        def work(number):
            with gate.place(), gate.turn(Deadline(300)):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.002)
                inside.remove(number)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(work, range(10)))
        assert most == [1] * 10

    def test_first_come_first_served(self):
        gate, order = Gate(waiting=9), []

        def work():
            with gate.turn(Deadline(300)):
                order.append('who waited')

        with ThreadPoolExecutor(1) as pool:
            with gate.turn(Deadline(0)):
                pool.submit(work)
                while len(gate._tickets) < 2:
                    time.sleep(0.001)
            with gate.turn(Deadline(300)):
                order.append('who asks again')
        assert order == ['who waited', 'who asks again']

    def test_waits_until_its_deadline(self):
        gate = Gate(waiting=1)
        refused = pytest.raises(Refusal, match='busy for too long')
        with gate.turn(Deadline(0)), ThreadPoolExecutor(1) as pool, refused:
            pool.submit(gate.turn(Deadline(0.01)).__enter__).result()
        with gate.turn(Deadline(0)):
            pass

    def test_a_few_at_a_time(self):
        turns = Turns(2)
        refused = pytest.raises(Refusal)
        with turns.turn(Deadline(0)), turns.turn(Deadline(0)), refused, turns.turn(Deadline(0.01)):
            pass
        with turns.turn(Deadline(0)):
            pass

    def test_who_is_called_off_waits_no_longer(self):
        gate, deadline = Gate(waiting=1), Deadline(60)
        with gate.turn(Deadline(0)), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(gate.turn(deadline).__enter__)
            while len(gate._tickets) < 2:
                time.sleep(0.001)
            deadline.call_off()
            with pytest.raises(Refusal):
                waiting.result(300)
