"""Pictures with boxes or masks: drawn here, or from COCO's and Cityscapes' layouts and from folders of masks."""
