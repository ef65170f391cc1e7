# Your own videos with several labels each: lines `video.mp4 3 7` in train.txt and val.txt.
_base_ = ['../pan/pan-lite_imagenet-pretrained-efficientnet-lite0_1xb16-4x1x8-15e_custom-rgb.py']

num_classes = 5
model = dict(
    cls_head=dict(
        num_classes=num_classes, multi_class=True, loss_cls=dict(type='BCELossWithLogits')
    )
)
train_dataloader = dict(dataset=dict(multi_class=True, num_classes=num_classes))
val_dataloader = dict(dataset=dict(multi_class=True, num_classes=num_classes))
test_dataloader = val_dataloader
val_evaluator = dict(type='AccMetric', metric_list=('mean_average_precision',))
test_evaluator = val_evaluator
