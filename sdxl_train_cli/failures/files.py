"""Failures of what is read: base model, VAE, hub, pictures, captions, caches, saved states."""

from __future__ import annotations

from sdxl_train_cli.failures.signature import OS_ERROR, Failure, Rank, Signature

_CACHES = "delete the .npz files beside the pictures, or --set cache_latents_to_disk=false"
_UTF8 = "save captions and prompts as UTF-8, and set the variable PYTHONUTF8=1"
_DOWNLOAD = "download it again, and compare its size with the page's"
_RESUMING = r"\bload_state\b|load_accelerator_state|resume_from_local"
_NO_HALF = "--set no_half_vae=true, or give --vae a repaired VAE; and --set mixed_precision=bf16 where the GPU has it"

NAN_LOSS = Signature(
    "nan-loss", Failure.NOT_A_NUMBER, r"(?:avr_)?loss=nan",
    "the loss is not a number: what was trained since is worthless",
    "a lower learning rate, --set mixed_precision=bf16, --set no_half_vae=true, --set max_grad_norm=1.0",
    "the trainer's bar; sd-scripts #293, #2137, #2313", anywhere=True,
)  # fmt: skip
"""It stands in bars, which count for no other."""

FILES = (
    NAN_LOSS,
    Signature(
        "nan-latents", Failure.NOT_A_NUMBER, r"NaN detected in latents", "the VAE gave NaN for a picture", _NO_HALF,
        "library/train_util.py: cache_batch_latents; sd-scripts #653, #725", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "nan-text", Failure.NOT_A_NUMBER, r"NaN detected in text encoder outputs",
        "a text encoder gave NaN for a caption", "--set mixed_precision=bf16, or another base model with --model",
        "library/train_util.py", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "no-data", Failure.DATA,
        r"No data found|num_samples should be a positive integer value, but got num_samples=0",
        "sd-scripts found no picture to train on",
        "check --data: pictures (.png .jpg .jpeg .webp .bmp) right in it, or in folders named as 10_cat",
        "train_network.py, sdxl_train.py", anywhere=True,
    ),
    Signature(
        "picture-broken", Failure.DATA,
        r"UnidentifiedImageError|cannot identify image file|image file is truncated|broken (?:data stream|PNG)"
        r"|Unrecognized data stream|Truncated File Read|unrecognized data stream|corrupt (?:JPEG|PNG)|not enough image data"
        r"|libpng error|tile cannot extend outside image|!_src\.empty\(\)|Decompressed [Dd]ata [Tt]oo [Ll]arge",
        "a picture is broken, or is not what its name says", "take it out of --data, or save it anew",
        "Pillow, OpenCV; bmaltais/kohya_ss #1574, #1718",
    ),
    Signature(
        "picture-cut", Failure.DATA, r"struct\.error|unpack_from requires|zlib\.error|IndexError|EOFError",
        "a picture is cut off or broken", "take it out of --data, or save it anew", "Pillow; ShivamShrirao/diffusers #79",
        within=r"PIL[\\/]+\w*Image",
    ),
    Signature(
        "picture-huge", Failure.DATA, r"DecompressionBomb(?:Error|Warning.*Error)",
        "a picture has more pixels than Pillow opens", "make it smaller: SDXL is trained at 1024x1024",
        "Pillow; bmaltais/kohya_ss #2641",
    ),
    Signature(
        "picture-size", Failure.DATA,
        r"image too large, but cropping|image size is small|illegal trimmed size|internal error\. small scale"
        r"|Calculated padded input size per channel|Output size is too small",
        "a picture does not fit the resolution, and must be neither cropped nor resized",
        "--set enable_bucket=true, and delete old .npz files beside the pictures", "library/train_util.py",
    ),
    Signature(
        "cache-broken", Failure.DATA,
        r"is not a file in the archive|BadZipFile|Error loading file: \S+\.npz|EOFError: No data left in file"
        r"|Failed to interpret file|allow_pickle=False|pickled \(object\) data",
        "a cache beside the pictures is cut off, or of another version", _CACHES,
        "library/strategy_base.py; bmaltais/kohya_ss #1904", within=r"npz|np\.load|numpy|cache",
    ),
    Signature(
        "cache-other-size", Failure.DATA, r"stack expects each tensor to be equal size|latents? shape mismatch",
        "caches beside the pictures are of another resolution", _CACHES, "torch; library/train_util.py",
    ),
    Signature(
        "cache-other-captions", Failure.DATA, r"'NoneType' object has no attribute 'to'",
        "text-encoder outputs were to come from a cache, and are not there",
        "delete the .npz files beside the pictures, or --set cache_text_encoder_outputs=false",
        "sdxl_train_network.py; bmaltais/kohya_ss #2560", within=r"input_ids2?\b",
    ),
    Signature(
        "bucket-of-nothing", Failure.DATA, r"ZeroDivisionError",
        "a picture is broken, or so small or so narrow that its bucket has a side of 0",
        "`sdxl-train dataset check DIR` names it: take it out, or --set bucket_no_upscale=false",
        "library/train_util.py: select_bucket; bmaltais/kohya_ss #2850", within=r"select_bucket|reso\[0\] / reso\[1\]",
    ),
    Signature(
        "batch-of-nothing", Failure.SETTINGS, r"ZeroDivisionError", "train_batch_size is 0", "--batch-size 1",
        "library/train_util.py: make_buckets", within=r"/ self\.batch_size",
    ),
    Signature(
        "no-data-counted", Failure.DATA, r"ZeroDivisionError", "sd-scripts found no picture to train on",
        "check --data: pictures (.png .jpg .jpeg .webp .bmp) right in it, or in folders named as 10_cat",
        "train_network.py", within=r"dataset|dataloader|num_\w*batches|steps_per_epoch|mean_img_ar|img_ar_errors",
    ),
    Signature(
        "odd-size", Failure.DATA,
        r"Sizes of tensors must match except in dimension|must match the size of tensor b \(\d+\) at non-singleton dimension [23]",
        "pictures have a size that SDXL can't halve often enough",
        "--set enable_bucket=true --set bucket_reso_steps=64", "torch; bmaltais/kohya_ss #1215",
    ),
    Signature(
        "caption-empty", Failure.DATA, r"caption file is empty", "a caption file is empty",
        "write a caption into it, or delete it", "library/train_util.py: read_caption", anywhere=True,
    ),
    Signature(
        "code-page", Failure.DATA,
        r"'(?:cp\d+|gbk|gb2312|big5|charmap|ascii|euc_\w+|shift_jis|latin-1)' codec can't (?:de|en)code|UnicodeEncodeError",
        "Windows took a text for its own code page", f"{_UTF8}; names of folders in Latin letters help too",
        "Python on Windows; sd-scripts #513, Akegarasu/lora-scripts #53, #344",
    ),
    Signature(
        "caption-not-utf8", Failure.DATA, r"illegal char in file \(not UTF-8\)", "a caption file is not UTF-8", _UTF8,
        "library/train_util.py: read_caption", anywhere=True,
    ),
    Signature(
        "not-utf8", Failure.DATA, r"'utf-8' codec can't decode|UnicodeDecodeError",
        "a caption, prompt or config file is not UTF-8", _UTF8,
        "library/train_util.py; Akegarasu/lora-scripts #218, #444",
    ),
    Signature(
        "metadata", Failure.DATA,
        r"no metadata\b|image_dir (?:must be specified|is required)|metadata_file must be specified",
        "the file of metadata is missing, or names no folder", "give --data the folder of pictures",
        "library/train_util.py: FineTuningDataset",
    ),
    Signature(
        "json-broken", Failure.DATA, r"JSONDecodeError",
        "a file of JSON is cut off or broken: metadata, prompts, or what was fetched from the Hugging Face hub",
        "the traceback says which; of the hub's, delete the model's folder in ~/.cache/huggingface/hub", "Python",
    ),
    Signature(
        "dataset-config", Failure.DATA,
        r"Invalid user config|extra keys not allowed|MultipleInvalid|not supported config file format"
        r"|file not found / ファイルが見つかりません",
        "the dataset's config file has an error, or is not there",
        "give --data the folder of pictures: sdxl-train writes that file itself", "library/config_util.py", anywhere=True,
    ),
    Signature(
        "toml", Failure.SETTINGS, r"TomlDecodeError|TOMLDecodeError|Invalid TOML",
        "a TOML file can't be read: often a Windows path, whose \\ has to be written / or doubled",
        "mend the line that is named; or use --set for options and --data for pictures, which need no such file",
        "Python; toml", anywhere=True,
    ),
    Signature(
        "lfs-pointer", Failure.MODEL, r"version https://git-lfs|invalid load key, 'v'",
        "a model file is only a pointer of Git LFS", "`git lfs pull`, or download the file itself",
        "torch; Akegarasu/lora-scripts #53", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "html-model", Failure.MODEL, r"invalid load key, '(?:<|\\n|\\x0a)'",
        "a model file is a web page: what was downloaded is the site's error or login", "log in there and download it",
        "torch", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "other-file", Failure.MODEL, r"invalid load key, '[{\[#]'", "a file given as a model holds text, such as JSON",
        "give --model, --vae and network_weights a .safetensors file", "torch; bmaltais/kohya_ss #172",
        Rank.ROOT, anywhere=True,
    ),
    Signature(
        "state-broken", Failure.RESUME,
        r"PytorchStreamReader failed|failed finding central|Error while deserializing|HeaderTo\w+"
        r"|MetadataIncompleteBuffer|EOFError: Ran out of input|(?:pickle|Unpickling)\w*: |invalid load key",
        "the state to resume is broken: its writing was cut off",
        "`sdxl-train runs resume` takes the last whole one; else start anew with network_weights", "accelerate, torch;"
        " bmaltais/kohya_ss #2216", Rank.ROOT, within=_RESUMING,
    ),
    Signature(
        "model-broken", Failure.MODEL,
        r"Error while deserializing|HeaderTo[\w]+|MetadataIncompleteBuffer|InvalidHeader|PytorchStreamReader failed"
        r"|invalid load key, '(?![v<{#\[])|Unable to load weights from (?:pytorch|checkpoint)|failed finding central directory"
        r"|Invalid magic number|corrupted record|incomplete metadata, file not fully covered",
        "a model file is broken, or is of another format than its name says", _DOWNLOAD, "safetensors, torch; sd-scripts #725", Rank.ROOT,
    ),
    Signature(
        "model-torn", Failure.MODEL, r"is invalid for input of size", "a model file holds less than its header says", _DOWNLOAD,
        "safetensors #95", within=r"safetensors|load_file|safe_open",
    ),
    Signature(
        "pickle-refused", Failure.MODEL, r"Weights only load failed|WeightsUnpickler error",
        "this torch refuses to open an old kind of file", "give a .safetensors file with --model or --vae", "torch 2.6",
    ),
    Signature(
        "position-ids", Failure.PACKAGES,
        r'loading state_dict for CLIPText\w+: (?:Missing|Unexpected) key\(s\) in state_dict: "text_model\.embeddings\.position_ids"\.',
        "transformers is of another version than this sd-scripts takes; the model is whole",
        "`sdxl-train setup --recreate` installs what belongs together", "transformers; bmaltais/kohya_ss #1925",
    ),
    Signature(
        "state-unfit", Failure.RESUME, r"Error\(s\) in loading state_dict for|size mismatch for",
        "the state to resume is of other weights: another network, dim or model, or of other versions of the packages",
        "resume with the preset, dim and model of the run that saved it; or start anew with its last LoRA file as network_weights",
        "accelerate; bmaltais/kohya_ss #1305", within=_RESUMING,
    ),
    Signature(
        "text-encoder-unfit", Failure.MODEL, r"Error\(s\) in loading state_dict for CLIPText",
        "the base model's text encoder does not fit: it is not SDXL, or transformers is of another version",
        "give --model an SDXL checkpoint; then `sdxl-train setup --recreate`", "library/sdxl_model_util.py, transformers",
    ),
    Signature(
        "vae-unfit", Failure.MODEL, r"Error\(s\) in loading state_dict for AutoencoderKL|exception occurs in loading vae",
        "the VAE does not fit", "give --vae an SDXL VAE, or leave it away", "library/model_util.py", anywhere=True,
    ),
    Signature(
        "other-network", Failure.RESUME,
        r"Error\(s\) in loading state_dict for \w*(?:LoRA|Lora|Lycoris|LyCORIS|DyLoRA|OFT|LoHa|LoKr)\w*"
        r"|size mismatch for lora|size mismatch for lycoris",
        "the network's weights are of another size or kind than this run's",
        "the dim, conv_dim and preset of the earlier run; with network_weights: --set dim_from_weights=true",
        "torch; bmaltais/kohya_ss #1305",
    ),
    Signature(
        "not-sdxl", Failure.MODEL,
        r"Error\(s\) in loading state_dict for Sdxl|unexpected key in (?:SD|DiffUsers)|only support SDXL"
        r"|KeyError: '(?:conditioner|first_stage_model|cond_stage_model|model\.diffusion_model|time_embed|input_blocks|label_emb)\b"
        r"|key \S+ not found in conversion map",
        "the base model is not SDXL", "give --model an SDXL checkpoint", "library/sdxl_model_util.py; bmaltais/kohya_ss #2737",
    ),
    Signature(
        "no-vae-file", Failure.MODEL, r"KeyError: ?'(?:(?:en|de)coder\.\w|(?:post_)?quant_conv)",
        "the file that --vae names is no VAE", "give --vae an SDXL VAE, or leave it away", "library/model_util.py: load_vae",
        within=r"in load_vae\b",
    ),
    Signature(
        "no-vae", Failure.MODEL, r"KeyError: ?'(?:(?:en|de)coder\.\w|(?:post_)?quant_conv)",
        "the base model holds no VAE: it is not a whole checkpoint",
        "give --model a whole SDXL checkpoint; a VAE of its own goes to --vae", "library/model_util.py;"
        " Akegarasu/lora-scripts #29",
    ),
    Signature(
        "inpainting-model", Failure.MODEL, r"expected input\[[\d, ]+\] to have \d+ channels, but got \d+ channels",
        "the model takes another number of channels: it is made for inpainting, or is no SDXL",
        "give --model an SDXL base checkpoint", "torch",
    ),
    Signature(
        "no-text-encoder", Failure.MODEL, r"'NoneType' object has no attribute 'dtype'",
        "the base model lacks a text encoder: it is SDXL's refiner, or not SDXL", "give --model an SDXL base checkpoint",
        "library/sdxl_train_util.py; bmaltais/kohya_ss #3008, sd-scripts #1041", within=r"text_encoder\d?\.dtype",
    ),
    Signature(
        "other-model", Failure.MODEL,
        r"Error\(s\) in loading state_dict for UNet2DConditionModel|size mismatch for (?:(?:down|up|mid|input|output|middle)_block)"
        r"|Trying to set a tensor of shape"
        r"|mat1 and mat2 shapes cannot be multiplied"
        r"|size of tensor a \((?:768|1024|1280|2048)\) must match the size of tensor b \((?:768|1024|1280|2048)\)",
        "model and script are of different kinds: SD 1.5 or 2 beside SDXL",
        "`sdxl-train lora --model` with an SDXL checkpoint; a base or network of SD 1.5 does not fit",
        "library/model_util.py; bmaltais/kohya_ss #1877, sd-scripts #1972",
    ),
    Signature(
        "certificate", Failure.HUB, r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError|SSL: ",
        "a certificate was refused: a proxy or virus scanner looks into the traffic, or the clock is wrong",
        "set REQUESTS_CA_BUNDLE to its certificate, or HF_ENDPOINT to a mirror", "requests, Python",
    ),
    Signature(
        "proxy", Failure.HUB, r"ProxyError|connect to proxy|Tunnel connection failed|Missing dependencies for SOCKS",
        "the proxy does not answer", "correct or unset HTTP_PROXY and HTTPS_PROXY", "requests",
    ),
    Signature(
        "hub-rate", Failure.HUB, r"429 Client Error|Too Many Requests", "the Hugging Face hub asks for a pause",
        "wait an hour, or set HF_TOKEN", "huggingface_hub",
    ),
    Signature(
        "hub-gated", Failure.HUB,
        r"GatedRepoError|403 Client Error|is restricted and you are not in|Cannot access gated repo|Invalid user token"
        r"|Invalid username or password",
        "the model on the Hugging Face hub is only for those who have accepted its terms",
        "accept them on its page and set HF_TOKEN, or give --model a file", "huggingface_hub",
    ),
    Signature(
        "hub-lacks", Failure.HUB,
        r"RepositoryNotFoundError|Repository Not Found|EntryNotFoundError: 404|RevisionNotFoundError|Entry Not Found"
        r"|is not a valid model identifier|HFValidationError|Repo id must|does not appear to have a file named"
        r"|Error no file named",
        "there is no such model or VAE, neither as a file nor on the Hugging Face hub", "check --model and --vae",
        "huggingface_hub, diffusers",
    ),
    Signature(
        "model-not-found", Failure.MODEL,
        r"model is not found as a file or in Hugging Face|pretrained_model_name_or_path.*does not exist",
        "the model was not found", "check --model", "library/sdxl_train_util.py, library/train_util.py", anywhere=True,
    ),
    Signature(
        "model-nowhere", Failure.MODEL, r"to load this model, couldn't find it in the cached files|neither a valid local path nor a valid repo id",
        "the model or VAE is no file here, and the Hugging Face hub could not be asked for it",
        "check the paths that --model and --vae name; for a hub id connect once, or set HF_ENDPOINT to a mirror",
        "diffusers; Linaqruf/kohya-trainer #55",
    ),
    Signature(
        "hub-offline", Failure.HUB,
        r"Can't load (?:tokenizer|the (?:configuration|model))|(?:couldn't|can't) connect to '?https?:|LocalEntryNotFoundError"
        r"|MaxRetryError|ConnectionError|ConnectTimeout|ReadTimeout|NameResolutionError|getaddrinfo failed"
        r"|name resolution|Network is unreachable|\[WinError 100(?:5[14]|60|61)\]|ConnectionReset|traffic has been disabled|OfflineModeIsEnabled|RemoteDisconnected"
        r"|\b[45]\d\d (?:Server|Client) Error|IncompleteRead|ChunkedEncodingError|Consistency check failed|Max retries exceeded|HfHubHTTPError",
        "a file had to come from the Hugging Face hub, and it did not",
        "connect once, or set HF_ENDPOINT to a mirror", "huggingface_hub, transformers; sd-scripts #1792",
    ),
    Signature(
        "no-state", Failure.RESUME, r"Tried to find .{1,300} but (?:folder|file) does not exist",
        "there is no state to resume at that path: it takes the folder NAME-state, not a .safetensors file",
        "`sdxl-train runs resume` finds it by itself; a run keeps states only with --save-state", "accelerate;"
        " sd-scripts #1166",
    ),
    Signature(
        "resume", Failure.RESUME,
        r"Failed to resume|loaded state dict (?:contains a parameter group|has a different number)"
        r"|No files found in the specified repo id",
        "the state to resume is not whole, or of another network or optimizer",
        "resume with the preset, dim and optimizer of the run that saved it, or start anew",
        "accelerate, torch; sd-scripts #378, #789", within=r"resume|load_state",
    ),
    Signature(
        "state-lacks", Failure.RESUME, r"FileNotFoundError|No such file or directory",
        "the state to resume lacks a file: it is not whole, or no folder of a state",
        "`sdxl-train runs resume` takes the last whole one; sd-scripts wants the folder NAME-state", "accelerate;"
        " bmaltais/kohya_ss #2046, #2856", within=_RESUMING,
    ),
    Signature(
        "folder-name", Failure.DATA, r"invalid literal for int\(\) with base 10",
        "a folder's name does not begin with how often its pictures are taken",
        "name the folders in --data such as 10_cat, or put the pictures right into it", "bmaltais/kohya_ss #216",
        within=r"repeat|dreambooth|dir\b|folder|split\(",
    ),
    Signature(
        "no-file", Failure.DATA,
        r"FileNotFoundError|\[Errno 2\]|No such file or directory|Parent directory .* does not exist|" + OS_ERROR.format("2|3"),
        "a file or folder is not there", "check the path", "Python",
    ),
)  # fmt: skip
