"""scansuite: classification, segmentation and detection on medical scans."""
