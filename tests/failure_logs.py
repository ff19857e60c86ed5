"""One log for each failure that is known: the words as sd-scripts and its libraries write them, in their surroundings."""

from __future__ import annotations

START = """\
running training / 学習開始
  num train images * repeats / 学習画像の数×繰り返し回数: 40
  total optimization steps / 学習ステップ数: 400
steps:   0%|          | 0/400 [00:00<?, ?it/s]
epoch 1/10
"""
TRACE = """\
Traceback (most recent call last):
  File "/home/me/sd-scripts/sdxl_train_network.py", line 241, in <module>
    trainer.train(args)
"""
LAUNCHER = """\
Traceback (most recent call last):
  File "/venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 763, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['/venv/bin/python', 'sdxl_train_network.py', '--xformers', '--cache_latents']' \
"""
EXIT_1 = LAUNCHER + "returned non-zero exit status 1.\n"


def raised(error: str, *frames: str, end: str = EXIT_1) -> str:
    """A traceback of the trainer, its last frames with these lines of code, and the launcher's behind it."""
    inner = "".join(f'  File "/home/me/sd-scripts/library/inner.py", line 7, in inner\n    {code}\n' for code in frames)
    return START + TRACE + inner + error + "\n" + end


def died(how: str) -> str:
    """A trainer that ended without a word."""
    return START + LAUNCHER + how + "\n"


def logged(*lines: str) -> str:
    """What the logger wrote, wrapped at 80 columns as in a pipe."""
    return "".join(f"{line}\n" for line in lines)


LOGS: dict[str, str] = {
    "gpu-memory": raised(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.78 GiB",
        "noise_pred = self.call_unet(args, accelerator)",
    ),
    "cudnn-start": raised("RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "return F.conv2d(input, weight)"),
    "too-many-maps": raised(
        "RuntimeError: unable to mmap 4096 bytes from file </torch_42_1_2>: Cannot allocate memory (12)",
    ),
    "host-memory": raised(
        "OSError: The paging file is too small for this operation to complete. (os error 1455)",
        "model_sd = load_file(ckpt_path)",
    ),
    "killed": died("died with <Signals.SIGKILL: 9>."),
    "access-violation": died("returned non-zero exit status 3221225477."),
    "old-processor": died("died with <Signals.SIGILL: 4>."),
    "disk-full": raised(
        "safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 28, kind: StorageFull, message:"
        ' "No space left on device" })',
        "save_file(state_dict, file, metadata)",
    ),
    "bitsandbytes-kernel": START
    + "Error no kernel image is available for execution on the device at line 167 in file D:\\ai\\csrc\\ops.cu\n"
    + EXIT_1,
    "no-kernel": raised(
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
        "CUDA kernel errors might be asynchronously reported at some other API call"
    ),
    "old-driver": logged(
        "/venv/lib/python3.11/site-packages/torch/cuda/__init__.py:129: UserWarning: CUDA initialization: The NVIDIA",
        "driver on your system is too old (found version 11040).",
    )
    + raised("ValueError: fp16 mixed precision requires a GPU (not 'cpu')."),
    "no-gpu": raised("ValueError: fp16 mixed precision requires a GPU (not 'cpu').", "accelerator = Accelerator("),
    "no-bf16": raised("ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device."),
    "gpu-index": raised("RuntimeError: CUDA error: invalid device ordinal"),
    "gpu-crash": raised("RuntimeError: CUDA error: an illegal memory access was encountered"),
    "gpu-assert": logged("../aten/src/ATen/native/cuda/Indexing.cu:1236: Assertion `srcIndex < srcSelectDimSize` failed.")
    + raised("RuntimeError: CUDA error: device-side assert triggered"),
    "mps": raised("TypeError: Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."),
    "dll": raised(
        "OSError: [WinError 1114] Произошел сбой в программе инициализации библиотеки динамической компоновки (DLL)."
        ' Error loading "C:\\venv\\Lib\\site-packages\\torch\\lib\\c10.dll" or one of its dependencies.'
    ),
    "no-libgl": raised("ImportError: libGL.so.1: cannot open shared object file: No such file or directory"),
    "shared-memory": logged("ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient"
                            " shared memory (shm).")
    + raised("RuntimeError: DataLoader worker (pid 263) is killed by signal: Bus error."),
    "worker-died": raised("RuntimeError: DataLoader worker (pid(s) 4743, 4744) exited unexpectedly"),
    "worker-start": raised("EOFError: Ran out of input", "exitcode = _main(fd, parent_sentinel)  # multiprocessing.spawn"),
    "open-files": raised("OSError: [Errno 24] Too many open files: '/data/a.png'"),
    "in-use": raised(
        'safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 1224, message: "..." })'
        " (os error 1224)"
    ),
    "path-too-long": raised("FileNotFoundError: [WinError 206] The filename or extension is too long: 'D:\\\\out'"),
    "bad-path": raised("OSError: [WinError 123] Синтаксическая ошибка в имени файла: '\"D:\\\\обучение\"'"),
    "permission": raised("PermissionError: [Errno 13] Permission denied: '/out/a.safetensors'"),
    "drive": raised("OSError: [Errno 107] Transport endpoint is not connected: '/content/drive/MyDrive'"),
    "libuv": raised(
        "torch.distributed.DistStoreError: use_libuv was requested but PyTorch was build without libuv support"
    ),
    "no-nccl": raised("RuntimeError: Distributed package doesn't have NCCL built in"),
    "several-gpus": raised("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970"),
    "one-gpu-only": raised("AttributeError: 'DistributedDataParallel' object has no attribute 'set_multiplier'"),
    "gpus-apart": "[W socket.cpp:663] [c10d] The client socket has failed to connect to [my-pc]:29500 (system error:"
    " 10049).\n" + TRACE,
    "stopped": raised("KeyboardInterrupt", "loss.backward()", end=""),
    "nan-loss": START
    + "steps:   5%|▌         | 20/400 [00:40<12:40,  2.00s/it, avr_loss=nan]\r"
    + "steps: 100%|██████████| 400/400 [13:20<00:00,  2.00s/it, avr_loss=nan]\nmodel saved.\n",
    "nan-latents": raised("RuntimeError: NaN detected in latents: /data/котики/a.png", 'raise RuntimeError(f"NaN'),
    "nan-text": raised("RuntimeError: NaN detected in text encoder outputs: /data/a.png"),
    "no-data": logged(
        "2026-01-02 10:00:00 ERROR    No data found. Please verify arguments           train_network.py:576",
        "                             (train_data_dir must be the parent of folders                        ",
        "                             with images) / 画像がありません。引数指定を確認                     ",
    ),
    "picture-broken": raised("PIL.UnidentifiedImageError: cannot identify image file '/data/b.png'", "Image.open(path)"),
    "picture-huge": raised(
        "PIL.Image.DecompressionBombError: Image size (240000000 pixels) exceeds limit of 178956970 pixels, could be"
        " decompression bomb DOS attack."
    ),
    "picture-size": raised("AssertionError: image size is small / 画像サイズが小さいようです: /data/a.png"),
    "cache-broken": raised(
        "KeyError: 'arr_0 is not a file in the archive'", 'cached_latents = np.load(info.latents_npz)["arr_0"]'
    ),
    "cache-other-size": raised(
        "RuntimeError: stack expects each tensor to be equal size, but got [4, 128, 128] at entry 0 and [4, 64, 64]"
    ),
    "cache-other-captions": raised(
        "AttributeError: 'NoneType' object has no attribute 'to'", "input_ids2 = input_ids2.to(accelerator.device)"
    ),
    "odd-size": raised(
        "RuntimeError: Sizes of tensors must match except in dimension 1. Expected size 34 but got size 33 for tensor"
    ),
    "caption-empty": raised("AssertionError: caption file is empty / キャプションファイルが空です: /data/a.txt"),
    "code-page": raised(
        "UnicodeDecodeError: 'cp932' codec can't decode byte 0x83 in position 6: illegal multibyte sequence",
        "lines = f.readlines()",
    ),
    "caption-not-utf8": "found directory /data contains 19 image files\n"
    "illegal char in file (not UTF-8) / ファイルにUTF-8以外の文字があります: /data/3.txt\n",
    "not-utf8": raised(
        "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xd7 in position 36: invalid continuation byte"
    ),
    "metadata": raised("ValueError: no metadata / メタデータファイルがありません: /data/meta.json"),
    "dataset-config": raised("voluptuous.error.MultipleInvalid: extra keys not allowed @ data['datasets'][0]['reso']"),
    "lfs-pointer": raised("_pickle.UnpicklingError: invalid load key, 'v'.", "torch.load(path)"),
    "html-model": raised("_pickle.UnpicklingError: invalid load key, '<'.", "torch.load(path)"),
    "other-file": raised("_pickle.UnpicklingError: invalid load key, '{'.", "torch.load(file, map_location='cpu')"),
    "model-broken": raised(
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer", "load_file(path)"
    ),
    "pickle-refused": raised(
        "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you have two options"
    ),
    "position-ids": raised(
        "RuntimeError: Error(s) in loading state_dict for CLIPTextModel:\n"
        '\tUnexpected key(s) in state_dict: "text_model.embeddings.position_ids". '
    ),
    "state-unfit": raised(
        'RuntimeError: Error(s) in loading state_dict for CLIPTextModel:\n\tMissing key(s) in state_dict: "x".',
        "accelerator.load_state(args.resume)",
    ),
    "text-encoder-unfit": raised(
        'RuntimeError: Error(s) in loading state_dict for CLIPTextModel:\n\tUnexpected key(s) in state_dict: "x".'
    ),
    "vae-unfit": raised('RuntimeError: Error(s) in loading state_dict for AutoencoderKL:\n\tMissing key(s): "x".'),
    "other-network": raised(
        "RuntimeError: Error(s) in loading state_dict for LoRANetwork:\n"
        "\tsize mismatch for lora_unet_x.lora_down.weight: copying a param with shape torch.Size([32, 640])"
    ),
    "not-sdxl": raised(
        'RuntimeError: Error(s) in loading state_dict for SdxlUNet2DConditionModel:\n\tMissing key(s) in state_dict: "x"'
    ),
    "no-text-encoder": raised(
        "AttributeError: 'NoneType' object has no attribute 'dtype'", "if text_encoder1.dtype != torch.float32:"
    ),
    "other-model": raised(
        "RuntimeError: Error(s) in loading state_dict for UNet2DConditionModel:\n\tsize mismatch for up_blocks.1"
    ),
    "certificate": raised(
        "requests.exceptions.SSLError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url:"
        " /api (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')))"
    ),
    "proxy": raised(
        "requests.exceptions.ProxyError: (MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): (Caused by"
        " ProxyError('Unable to connect to proxy'))\"))"
    ),
    "hub-rate": raised("huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://hf"),
    "hub-gated": raised(
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)\n\nCannot access gated repo for url"
    ),
    "hub-lacks": raised(
        "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1)\n\nRepository Not Found"
    ),
    "model-not-found": logged(
        "2026-01-02 10:00:00 ERROR    model is not found as a file or in Hugging   sdxl_train_util.py:100",
        "                             Face, perhaps file name is wrong? /",
        "                             指定したモデル名のファイル、またはHugging",
    ),
    "model-nowhere": raised(
        "OSError: We couldn't connect to 'https://huggingface.co/' to load this model, couldn't find it in the cached"
        " files and it looks like /content/vae/none is not the path to a directory"
    ),
    "hub-offline": raised(
        "OSError: Can't load tokenizer for 'openai/clip-vit-large-patch14'. If you were trying to load it from"
        " 'https://huggingface.co/models', make sure you don't have a local directory with the same name."
    ),
    "resume": raised(
        "ValueError: loaded state dict contains a parameter group that doesn't match the size of optimizer's group",
        "train_util.resume_from_local_or_hf_if_specified(accelerator, args)",
    ),
    "folder-name": raised(
        "ValueError: invalid literal for int() with base 10: 'CROP'", 'n_repeats = int(name.split("_")[0])'
    ),
    "no-file": raised("FileNotFoundError: [Errno 2] No such file or directory: 'prompts.txt'"),
    "other-script": "usage: sdxl_train.py [-h] [--v2]\n"
    "sdxl_train.py: error: unrecognized arguments: --network_dim=32 --network_alpha=16\n"
    + LAUNCHER
    + "returned non-zero exit status 2.\n",
    "unknown-option": "usage: sdxl_train_network.py [-h] [--console_log_level X]\n"
    "sdxl_train_network.py: error: unrecognized arguments: --nope\n" + LAUNCHER + "returned non-zero exit status 2.\n",
    "option-value": "sdxl_train_network.py: error: argument --network_alpha: invalid float value: 'x'\n"
    + LAUNCHER + "returned non-zero exit status 2.\n",
    "no-config": logged("2026-01-02 10:00:00 INFO     D:/my/config.toml not found.      train_util.py:4741"),
    "batch-of-nothing": raised("ZeroDivisionError: division by zero", "n = int(math.ceil(len(bucket) / self.batch_size))"),
    "unknown-network": raised("ModuleNotFoundError: No module named 'networks.loha'", "import_module(args.network_module)"),
    "v2": raised("AssertionError: v2 cannot be enabled in SDXL training / SDXL学習ではv2を有効にすることはできません"),
    "adaptive-noise": raised("ValueError: adaptive_noise_scale requires noise_offset / adaptive_noise_scaleを使用するには"),
    "v-pred-scale": raised("ValueError: scale_v_pred_loss_like_noise_pred can be enabled only with v_parameterization / "),
    "v-pred-like": raised("ValueError: v_pred_like_loss cannot be enabled with v_parameterization / v_pred"),
    "resolution-form": raised("AssertionError: resolution must be 'size' or 'width,height' / resolution: (1024, 1024, 3)"),
    "face-crop-form": raised("AssertionError: face_crop_aug_range must be two floats / face_crop_aug_range"),
    "weighted-captions": raised("AssertionError: weighted_captions is not supported when caching text encoder outputs / "),
    "text-encoder-cached": raised(
        "AssertionError: cache_text_encoder_outputs is not supported when training text encoder / text encoder"
    ),
    "network-text-cached": raised(
        "AssertionError: network for Text Encoder cannot be trained with caching Text Encoder outputs / Text Encoderの"
    ),
    "block-lr": raised("AssertionError: block_lr must have 23 values / block_lrは23個の値を指定してください"),
    "no-resolution": raised("AssertionError: resolution is required / resolution（解像度）指定は必須です"),
    "min-bucket": raised("AssertionError: min_bucket_reso must be equal or less than resolution / min_bucket_reso"),
    "max-bucket": raised("AssertionError: max_bucket_reso must be equal or greater than resolution / max_bucket_reso"),
    "bucket-steps": raised("AssertionError: bucket_reso_steps is 48. it must be divisible by 32."),
    "moving-pictures": raised(
        "AssertionError: when caching latents, either color_aug or random_crop cannot be used / latentをキャッシュ"
    ),
    "moving-captions": raised(
        "AssertionError: when caching Text Encoder output, either caption_dropout_rate, shuffle_caption,"
        " token_warmup_step or caption_tag_dropout_rate cannot be used"
    ),
    "interpolation": raised('AssertionError: Resize interpolation "lanczoz" is not a valid interpolation'),
    "no-logging-dir": raised("ValueError: logging_dir is required when log_with is tensorboard / Tensorboardを使う場合"),
    "full-precision": raised("AssertionError: full_bf16 requires mixed precision='bf16' / full_bf16を使う場合は"),
    "fused-optimizer": raised(
        "AssertionError: fused_backward_pass currently only works with optimizer_type Adafactor / fused"
    ),
    "fused-accumulation": raised("AssertionError: fused_backward_pass does not work with gradient_accumulation_steps > 1 /"),
    "two-optimizers": raised("AssertionError: both option use_8bit_adam and optimizer_type are specified / use_8bit"),
    "unknown-optimizer": raised("ValueError: Unknown optimizer type: adamw9bit", "get_optimizer(args, params)"),
    "warm-up": raised("ValueError: SchedulerType.CONSTANT does not require `num_warmup_steps`. Set None or 0."),
    "schedule-lacks": raised("ValueError: SchedulerType.LINEAR requires `num_warmup_steps`, please provide that argument."),
    "unknown-schedule": raised("ValueError: 'cosinus' is not a valid SchedulerType"),
    "adafactor-schedule": raised("AssertionError: adafactor scheduler must be used with Adafactor optimizer / adafactor"),
    "adafactor-rate": raised("IndexError: list index out of range", 'initial_lr = float(name.split(":")[1])'),
    "network-arguments": raised(
        "ValueError: not enough values to unpack (expected 2, got 1)", 'key, value = net_arg.split("=")'
    ),
    "literal": raised("ValueError: malformed node or string on line 1: <ast.Name>", "value = ast.literal_eval(value)"),
    "two-rates": raised("ValueError: Cannot combine manual `lr` and `relative_step=True` options"),
    "d-rates": raised("RuntimeError: Setting different lr values in different parameter groups is only supported for"),
    "persistent-workers": raised("ValueError: persistent_workers option needs num_workers > 0"),
    "fp8-torch": raised("AssertionError: fp8_base requires torch>=2.1.0 / fp8を使う場合はtorch>=2.1.0が必要です。"),
    "fp8-precision": raised("AssertionError: fp8_base requires mixed precision='fp16' or 'bf16' / fp8を使う場合は"),
    "fp8-kernel": raised("NotImplementedError: \"mul_cuda\" not implemented for 'Float8_e4m3fn'"),
    "block-dims": raised("AssertionError: block_dims must have 23 elements but 12 elements are given / block_dimsは"),
    "steps-behind": raised("AssertionError: max_train_steps should be greater than initial step / max_train_stepsは"),
    "no-prompts": raised(
        "TypeError: stat: path should be string, bytes, os.PathLike or integer, not NoneType",
        "if not os.path.isfile(args.sample_prompts):",
    ),
    "prompts-form": raised("UnboundLocalError: local variable 'prompts' referenced before assignment"),
    "no-output": raised(
        "TypeError: expected str, bytes or os.PathLike object, not NoneType", "os.makedirs(args.output_dir, exist_ok=True)"
    ),
    "no-network-module": raised(
        "AttributeError: 'NoneType' object has no attribute 'startswith'",
        "network_module = importlib.import_module(args.network_module)",
    ),
    "no-cache-suffix": raised("AttributeError: 'NoneType' object has no attribute 'cache_suffix'"),
    "full-fp16-scaler": raised("ValueError: Attempting to unscale FP16 gradients.", "accelerator.clip_grad_norm_(params)"),
    "no-gradients": raised("AssertionError: No inf checks were recorded for this optimizer."),
    "nothing-by-parts": raised(
        "IndexError: list index out of range", "if type(trainable_params) == list and type(trainable_params[0]) == dict:"
    ),
    "nothing-to-train": raised("ValueError: optimizer got an empty parameter list"),
    "mixed-precision": raised("RuntimeError: expected scalar type Float but found Half", "return F.layer_norm("),
    "token-length": raised(
        "RuntimeError: The size of tensor a (154) must match the size of tensor b (77) at non-singleton dimension 1"
    ),
    "two-devices": raised(
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
    ),
    "loss-name": raised("NotImplementedError: Unsupported Loss Type: l3"),
    "numpy-2": raised("ImportError: numpy.core.multiarray failed to import", "import cv2"),
    "setuptools": raised("ModuleNotFoundError: No module named 'pkg_resources'", "import pkg_resources"),
    "lycoris-too-new": raised(
        "ValueError: infer_schema(func): Parameter shape has unsupported type list[int]. The valid types are: ..."
    ),
    "no-lycoris": raised("ModuleNotFoundError: No module named 'lycoris'"),
    "old-lycoris": raised("AttributeError: 'list' object has no attribute 'named_modules'"),
    "xformers-unfit": raised(
        "NotImplementedError: No operator found for `memory_efficient_attention_forward` with inputs:\n"
        "     query       : shape=(1, 4096, 10, 64) (torch.bfloat16)"
    ),
    "attention-kernel": START
    + "CUDA error (C:/a/xformers/third_party/flash-attention/hopper/flash_fwd_launch_template.h:188): invalid argument\n"
    + EXIT_1,
    "no-xformers": raised("ImportError: No xformers / xformersがインストールされていないようです"),
    "bitsandbytes": raised(
        "RuntimeError: \n        CUDA Setup failed despite GPU being available. Please run the following command",
        "import bitsandbytes as bnb",
    ),
    "no-optimizer": raised("ImportError: No Prodigy / Prodigy がインストールされていないようです"),
    "no-logger": raised("ImportError: No wandb / wandb がインストールされていないようです"),
    "no-triton": raised("torch._inductor.exc.TritonMissing: Cannot find a working triton installation."),
    "no-deepspeed": raised("ImportError: DeepSpeed is not installed => run `pip3 install deepspeed`"),
    "hub-too-new": raised("ImportError: cannot import name 'cached_download' from 'huggingface_hub' (/venv/lib/x.py)"),
    "torchvision-unfit": raised("RuntimeError: operator torchvision::nms does not exist"),
    "library-unfit": raised(
        "ImportError: /venv/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister"
    ),
    "protobuf": raised("TypeError: Descriptors cannot be created directly."),
    "old-torch-for-ckpt": raised(
        "ValueError: Due to a serious vulnerability issue in `torch.load`, we now require users to upgrade torch to at"
        " least v2.6"
    ),
    "no-trainer": "/venv/bin/python: can't open file '/home/me/sdxl_train_network.py': [Errno 2] No such file or"
    " directory\n" + LAUNCHER + "returned non-zero exit status 2.\n",
    "no-accelerate": "'accelerate' is not recognized as an internal or external command,\noperable program or batch file.\n",
    "broken-package": raised(
        "SyntaxError: source code string cannot contain null bytes", "import_module('site-packages/diffusers')"
    ),
    "optimizer-arguments": raised(
        "TypeError: AdamW8bit.__init__() got an unexpected keyword argument 'decouple'",
        "optimizer_name, optimizer_args, optimizer = train_util.get_optimizer(args, trainable_params)",
    ),
    "versions-mixed": raised(
        "AttributeError: 'Namespace' object has no attribute 'network_alpha'. Did you mean: 'network_args'?"
    ),
    "conditions-mixed": START
    + TRACE
    + '  File "/home/me/sd-scripts/sdxl_train_network.py", line 160, in call_unet\n'
    + "    encoder_hidden_states1, encoder_hidden_states2, pool2 = text_conds\n"
    + "ValueError: not enough values to unpack (expected 3, got 1)\n"
    + EXIT_1,
    "packages-unfit": raised("ImportError: cannot import name 'CLIPFeatureExtractor' from 'transformers' (/venv/lib)"),
    "diffusers-unfit": raised("AssertionError: duplicated lora name: lora_unet_down_blocks_0_attentions_0_proj_in"),
    "no-module": raised("ModuleNotFoundError: No module named 'imagesize'", "import imagesize"),
    "threads": raised("RuntimeError: can't start new thread", "t.start()"),
    "bus-error": died("died with <Signals.SIGBUS: 7>."),
    "dll-absent": died("returned non-zero exit status 3221225781."),
    "picture-cut": raised(
        "struct.error: unpack_from requires a buffer of at least 4 bytes", "site-packages/PIL/PngImagePlugin.py: i32(s)"
    ),
    "json-broken": raised("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)", "json.load(f)"),
    "toml": raised("toml.decoder.TomlDecodeError: Reserved escape sequence used (line 3 column 1 char 40)"),
    "state-broken": raised(
        "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory",
        "accelerator.load_state(args.resume)",
    ),
    "no-vae-file": raised(
        "KeyError: 'encoder.conv_in.weight'", 'File "/sd-scripts/library/model_util.py", line 1306, in load_vae'
    ),
    "no-vae": raised("KeyError:'encoder.conv_in.weight'", "converted = convert_ldm_vae_checkpoint(state_dict, vae_config)"),
    "inpainting-model": raised(
        "RuntimeError: Given groups=1, weight of size [320, 9, 3, 3], expected input[1, 4, 128, 128] to have 9 channels, but"
        " got 4 channels instead"
    ),
    "no-state": raised("ValueError: Tried to find D:/out/cat-000120.safetensors but folder does not exist"),
    "samples-cached": raised("AttributeError: 'NoneType' object has no attribute 'to'", "self.sample_images(accelerator)"),
    "samples-size": raised("ValueError: `height` and `width` have to be divisible by 8 but are 1023 and 1024."),
    "option-type": raised("TypeError: '>' not supported between instances of 'str' and 'int'", "if args.noise_offset > 0:"),
    "tensorflow": raised("AttributeError: module 'tensorflow' has no attribute 'io'", "accelerator.init_trackers("),
    "no-compiler": raised("RuntimeError: Error building extension 'fused_adam'"),
    "cudnn-library": START + "Could not load library cudnn_cnn_infer64_8.dll. Error code 126\n" + EXIT_1,
    "accelerate-config": raised("ValueError: 'MULTI_GPUS' is not a valid DistributedType"),
    "schedule-unfit": raised("AttributeError: 'Prodigy' object has no attribute '_step_count'", "optimizer.step()"),
    "lycoris-unfit": raised("AttributeError: 'LokrModule' object has no attribute 'lora_down'. Did you mean: 'lora_dim'?"),
    "in-optimizer-step": raised("KeyError: 'odd'", "optimizer.step()"),
    "triton-kernel": raised("RuntimeError: Triton Error [CUDA]: invalid argument"),
    "model-torn": raised(
        "RuntimeError: shape '[1280, 1280, 3, 3]' is invalid for input of size 7290352", "safe_open: result[k] = f.get_tensor(k)"
    ),
    "state-lacks": raised(
        "FileNotFoundError: [Errno 2] No such file or directory: '/out/cat-state/random_states_0.pkl'",
        "accelerator.load_state(args.resume)",
    ),
    "in-network-weights": raised("KeyError: 'odd'", "info = network.load_weights(args.network_weights)"),
    "in-gui": raised("KeyError: 'odd'", 'File "/kohya_ss/venv/lib/site-packages/gradio/queueing.py", line 5, in process_events'),
    "in-import": raised("KeyError: 'odd'", "from timm.models import _cfg"),
    "bucket-of-nothing": raised(
        "ZeroDivisionError: division by zero",
        "dataset.make_buckets()",
        "ar_error = (reso[0] / reso[1]) - aspect_ratio",
    ),
    "no-data-counted": raised("ZeroDivisionError: division by zero", "n = args.max_train_steps / len(train_dataloader)"),
    "samples-never": raised(
        "ZeroDivisionError: integer division or modulo by zero", "if epoch is None or epoch % args.sample_every_n_epochs != 0:"
    ),
    "in-lycoris": raised("AttributeError: apply_max", 'File "/venv/site-packages/lycoris/kohya/__init__.py", line 1'),
    "in-bitsandbytes": raised("KeyError: 'odd'", "import bitsandbytes as bnb"),
    "in-xformers": raised("RuntimeError: odd", "import xformers.ops"),
    "in-compile": raised("KeyError: 'odd'", "site-packages/torch/_dynamo/eval_frame.py"),
    "in-logs": raised("KeyError: 'odd'", "accelerator.init_trackers("),
    "in-samples": raised("KeyError: 'odd'", "self.sample_images(accelerator, args, epoch + 1)"),
    "in-resume": raised("KeyError: 'odd'", "accelerator.load_state(args.resume)"),
    "in-saving": raised("KeyError: 'odd'", "unwrapped_nw.save_weights(ckpt_file, save_dtype, metadata_to_save)"),
    "in-config": raised("KeyError: 'odd'", "config_dict = toml.load(f)"),
    "in-optimizer": raised("KeyError: 'odd'", "optimizer = train_util.get_optimizer(args, trainable_params)"),
    "in-schedule": raised("KeyError: 'odd'", "lr_scheduler = train_util.get_scheduler_fix(args, optimizer, 1)"),
    "in-vae": raised("KeyError: 'odd'", "vae = model_util.load_vae(vae_path, weight_dtype)"),
    "in-model": raised("KeyError: 'odd'", "= self.load_target_model(args, weight_dtype, accelerator)"),
    "in-tokenizer": raised("KeyError: 'odd'", "tokenizer = train_util.load_tokenizer(args)"),
    "in-network": raised("KeyError: 'odd'", "network = network_module.create_network("),
    "in-captions": raised("KeyError: 'odd'", "img_paths, captions = load_dreambooth_dir(subset)"),
    "in-pictures": raised("KeyError: 'odd'", "image = load_image(info.absolute_path)"),
}  # fmt: skip
