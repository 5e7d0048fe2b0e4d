"""Numbers that keep streams of random numbers apart.

Seeds begin with the same words (seed, epoch, position in the epoch's order), so each use adds its own number at the
end. A number is never used again for something else: runs must repeat.
"""

PATCHES = 7  # where a training patch is cut
MOSAIC_LAYOUT = 11  # where four images meet, and which part of each is seen
MOSAIC_CHOICE = 13  # whether a mosaic is made, and of which images
BAGS = 17  # which images of a case are shown in training
MIXING = 29  # mixup and CutMix
SHOWN = 31  # which cases `show` draws
MC_DROPOUT = 37  # what is dropped in passes of evaluation and prediction
FEATURE_COPY = 41  # which augmented copy of an image's features a draw takes
