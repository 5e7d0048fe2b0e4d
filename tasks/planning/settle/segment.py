"""What is settled for segmentation alone: images, model, augmentation, evaluation."""
