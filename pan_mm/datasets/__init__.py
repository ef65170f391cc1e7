from .sampling import PANSampleFrames
from .video import VideoDecode, VideoError, VideoInit

__all__ = ['PANSampleFrames', 'VideoDecode', 'VideoError', 'VideoInit']
