"""What other trainers call our flags, and the flag that a mistyped or foreign name most likely means.

Standard library alone: a mistyped flag is answered before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

# Flags of ours, of which the first that the verb has counts, and what Keras, Ultralytics, MONAI, nnU-Net, timm,
# torchvision, Lightning, Hugging Face and scikit-learn call them; with a value where the name means one. A name with
# its group (``model.name``) counts before the same name without.
_NAMES = (
    ("--model.lr", "learning_rate learningrate lr0 initial_lr init_lr max_lr lr_init"),
    ("--trainer.max_epochs", "epochs epoch num_epochs n_epochs nb_epochs nepochs max_epoch num_train_epochs ep e"),
    ("--trainer.max_steps", "steps num_steps iterations max_iter max_iters n_iter"),
    ("--data.batch_size", "batch batchsize bs b mini_batch train_batch_size batch_size_per_gpu samples_per_gpu"),
    ("--data.total_batch_size", "global_batch_size effective_batch_size ims_per_batch"),
    ("--data.image_size --image_size", "imgsz img_size imgsize img image_shape input_size input_shape target_size"),
    ("--data.image_size --image_size", "resize resolution size train_crop_size"),
    ("--trainer.devices", "gpus gpu_ids num_gpus n_gpus ngpus num_devices device_ids world_size nproc_per_node"),
    ("--trainer.num_nodes", "nodes nnodes"),
    ("--trainer.accelerator", "device backend"),
    ("--trainer.accelerator=gpu", "gpu cuda use_gpu use_cuda"),
    ("--trainer.accelerator=cpu", "cpu no_cuda no_gpu"),
    ("--trainer.strategy", "ddp distributed fsdp dist_backend"),
    ("--trainer.sync_batchnorm", "sync_bn syncbn"),
    ("--trainer.precision=16-mixed", "amp fp16 half mixed_precision use_amp"),
    ("--trainer.precision=bf16-mixed", "bf16 bfloat16"),
    ("--trainer.precision=32-true", "fp32 float32"),
    ("--trainer.precision", "dtype amp_dtype"),
    ("--trainer.deterministic", "cudnn_deterministic use_deterministic_algorithms"),
    ("--seed_everything", "seed random_seed random_state manual_seed rng_seed"),
    ("--model.backbone --ckpt_path", "model arch architecture model_name network net encoder encoder_name"),
    ("--model.backbone --ckpt_path", "model.name model.model base_model"),
    ("--model.weights=imagenet", "pretrained use_pretrained encoder_weights imagenet"),
    ("--model.weights --ckpt_path", "pretrained_weights initial_checkpoint finetune load load_weights"),
    ("--ckpt_path --model.weights", "weights checkpoint ckpt checkpoint_path model_path weights_path model_file"),
    ("--ckpt_paths", "checkpoints ckpts ensemble models"),
    ("--ckpt_path=last", "resume resume_from resume_from_checkpoint resume_training auto_resume continue"),
    ("--ckpt_path=last", "continue_training"),
    ("--model.freeze=backbone", "freeze_backbone freeze_encoder frozen"),
    ("--model.unfreeze", "unfreeze_epoch freeze_epochs"),
    ("--input --data.root --data", "data_dir data_path data_root datadir dataset dataset_dir dataset_path root_dir"),
    ("--input --data.root --data", "train_dir dir directory folder path"),
    ("--input --data.images --data.root", "source inputs image images input_dir input_path image_dir images_dir"),
    ("--input --data.images --data.root", "img_dir image_path files i"),
    ("--run_dir --output", "out output output_dir outdir out_dir output_path output_folder save_dir log_dir logdir o"),
    ("--run_dir --output", "project work_dir workdir run exp experiment default_root_dir results"),
    ("--output --run_dir", "run_dir"),
    ("--data.table --input", "table csv csv_file csv_path dataframe metadata"),
    ("--data.path_column", "x_col path_col image_column image_col filename_column file_column"),
    ("--data.label_columns --data.label_column", "y_col label_col label_cols target_column"),
    ("--data.label_columns --data.label_column", "label target_col class_column class_col"),
    ("--data.label_columns --data.label_column", "label_column label_columns"),
    ("--data.masks --data.labels", "mask_column mask_col seg_column"),
    ("--data.masks --data.labels", "masks labels masks_dir mask_dir label_dir labels_dir segmentations seg_dir mask"),
    ("--data.patient_column --data.patient_pattern", "patient_col patient_id patient group_column groups subject"),
    ("--data.annotations", "annotation ann_file annotation_file annotations_file"),
    ("--data.separator", "delimiter sep"),
    ("--data.class_names --data.classes", "names class_names classes label_names class_list categories"),
    ("--classes --data.class_names --data.classes", "num_classes n_classes nb_classes nc"),
    ("--data.channels --channels", "in_channels in_chans input_channels num_channels color_mode grayscale rgb"),
    ("--folds --data.folds", "k kfold kfolds k_folds k_fold num_folds n_folds nfolds n_splits cv cross_validation"),
    ("--data.fold", "fold_index fold_idx fold_id f"),
    ("--data.test_fraction", "test_size test_split test_ratio test_frac"),
    ("--data.folds", "val_split validation_split val_fraction val_ratio val_size val_frac"),
    ("--data.split_file", "splits splits_file split_csv"),
    ("--data.num_workers", "workers n_workers nworkers j n_jobs dataloader_num_workers num_processes"),
    ("--model.early_stopping", "patience es_patience earlystopping early_stop early_stopping_patience"),
    ("--model.early_stopping_gain", "min_delta es_min_delta early_stopping_min_delta early_stopping_threshold"),
    ("--model.optimizer", "opt optim solver"),
    ("--model.optimizer_args.momentum", "momentum"),
    ("--model.optimizer_args.betas", "betas opt_betas"),
    ("--model.optimizer_args.eps", "eps opt_eps"),
    ("--model.schedule", "scheduler lr_scheduler sched lr_schedule lr_policy cos_lr"),
    ("--model.schedule_args.step_size", "step_size lr_step_size"),
    ("--model.schedule_args.gamma", "lr_gamma decay_rate"),
    ("--model.schedule_args.min_lr", "min_lr eta_min"),
    ("--model.warmup", "warmup_epochs warmup_steps warmup_ratio lr_warmup_epochs"),
    ("--model.weight_decay", "wd decay l2 weightdecay"),
    ("--model.dropout", "drop drop_rate dropout_rate"),
    ("--model.drop_path", "drop_path_rate stochastic_depth"),
    ("--model.loss --model.box_loss", "criterion loss loss_fn loss_function objective"),
    ("--model.class_weights --model.focal_alpha", "class_weight class_weights pos_weight weighted_loss"),
    ("--data.sampler=balanced", "balanced weighted_sampler oversample oversampling"),
    ("--model.label_smoothing", "smoothing label_smooth"),
    ("--model.focal_gamma", "fl_gamma"),
    ("--model.mixup", "mix_up mixup_alpha"),
    ("--model.cutmix", "cut_mix cutmix_alpha"),
    ("--model.ema", "ema_decay model_ema model_ema_decay"),
    ("--trainer.gradient_clip_val", "grad_clip clip_grad clip_grad_norm max_grad_norm clipnorm"),
    ("--trainer.accumulate_grad_batches", "accumulate accum accum_iter grad_accum grad_accum_steps"),
    ("--trainer.accumulate_grad_batches", "gradient_accumulation_steps grad_accumulation_steps"),
    ("--model.grad_checkpointing", "gradient_checkpointing use_checkpoint"),
    ("--data.augment", "aug augmentation augmentations transform transforms auto_augment data_augmentation"),
    ("--data.augment_args", "fliplr flipud hflip vflip degrees rotation translate scale"),
    ("--data.normalize", "mean std norm normalization standardize"),
    ("--data.value_range", "intensity_range hu_range clip_range"),
    ("--data.spacing", "pixdim voxel_size target_spacing"),
    ("--model.window --data.patch_size", "tile tile_size roi_size sw_roi_size sliding_window"),
    ("--data.patch_size --model.window", "patch patch_shape crop_size"),
    ("--model.overlap", "sw_overlap tile_overlap"),
    ("--model.tta", "test_time_augmentation disable_tta"),
    ("--model.score_threshold", "conf conf_thres conf_thresh conf_threshold confidence score_thresh score_thr"),
    ("--model.score_threshold", "threshold"),
    ("--model.nms_iou", "iou iou_thres iou_threshold nms_thresh nms_threshold"),
    ("--model.anchors", "anchor anchor_sizes"),
    ("--data.ignore_value", "ignore_index ignore_label"),
    ("--pictures", "overlay overlays save_img visualize visualise"),
    ("--mask_format", "output_format"),
    ("--logger=tensorboard", "tensorboard tb"),
    ("--logger=wandb", "wandb use_wandb"),
    ("--logger=mlflow", "mlflow"),
    ("--logger", "loggers report_to"),
    ("--find_lr=true", "auto_lr_find lr_find lr_finder"),
    ("--find_batch_size=true", "auto_batch auto_scale_batch_size"),
    ("--compile", "torch_compile torchcompile"),
    ("--trainer.fast_dev_run=true", "dry_run smoke_test"),
    ("--trainer.check_val_every_n_epoch", "val_interval eval_interval val_every"),
    ("--save_every_minutes", "save_period save_freq save_every"),
    ("--config", "cfg yaml config_file hyp"),
    ("--quiet", "q silent"),
    ("--quality=quick", "quick fast first_look"),
    ("--time", "time_limit time_budget budget"),
    ("--model.monitor", "best_metric eval_metric metric"),
    ("--model.teacher", "distill teacher_model"),
    ("--data.cache", "cache_images cache_rate ram"),
    ("--trainer.limit_train_batches", "fraction subset"),
)
# What is typed, without its dashes -> flags of ours.
SYNONYMS = {name: tuple(flags.split()) for flags, names in _NAMES for name in names.split()}

_GROUPS = ("", "data", "model", "trainer")  # where a name without its group is looked for, in order
_TYPO = 0.75  # similarity (0 to 1) from which a name of ours counts before one of the table
_NEVER_MEANT = {"--help", "--data", "--model", "--trainer"}  # short words, near to many
_FAR = 0.6  # similarity below which nothing is guessed


def meant(name: str, known: Iterable[str]) -> str | None:
    """The flag that a name which is none most likely means.

    Args:
        name: as typed, with or without dashes (``--model.learning-rate``, ``-lr``).
        known: full names of the flags of the verb (``--model.lr``).

    Returns:
        The flag, with a value where one is meant (``--model.weights imagenet``); None where nothing is near.
    """
    names = {one for one in known if one.startswith("--") and ".init_args." not in one}
    typed = name.lstrip("-").replace("-", "_").lower()
    leaf = typed.rpartition(".")[2]
    by_leaf = _by_leaf(names)
    if (same := f"--{typed}") in names:  # but for dashes and capitals
        return same
    if "." in typed and (found := _listed(typed, names)):
        return found
    if found := by_leaf.get(leaf) or _listed(leaf, names):
        return found
    if leaf in SYNONYMS:  # of something that the verb does not have
        return None
    if near := get_close_matches(f"--{typed}", names - _NEVER_MEANT, n=1, cutoff=_TYPO):
        return near[0]
    for similar in get_close_matches(leaf, {**by_leaf, **SYNONYMS}, n=3, cutoff=_TYPO) if len(leaf) > 3 else ():
        if found := by_leaf.get(similar) or _listed(similar, names):
            return found
    return next(iter(get_close_matches(f"--{typed}", names - _NEVER_MEANT, n=1, cutoff=_FAR)), None)


def _listed(word: str, names: Collection[str]) -> str | None:
    """The flag of the table for a word, where the verb has it or what it is below (``--model.optimizer_args``)."""
    for flag in SYNONYMS.get(word, ()):
        name, _, value = flag.partition("=")
        above = name.rpartition(".")[0]
        if name in names or (above.count(".") and above in names):
            return f"{name} {value}".strip()
    return None


def _by_leaf(names: Collection[str]) -> dict[str, str]:
    """Flags by their name without its group; where two groups have one, that of the first group."""
    found: dict[str, str] = {}
    for group in _GROUPS:
        for name in sorted(names):
            above, _, leaf = name.removeprefix("--").rpartition(".")
            if above == group:
                found.setdefault(leaf, name)
    return found
