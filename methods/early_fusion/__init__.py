"""Early fusion: the channels of all sensors in one ordinary segmentation network."""
