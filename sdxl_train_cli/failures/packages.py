"""Failures of what is installed: packages that are missing, or do not fit each other, Python or the GPU."""

from __future__ import annotations

from sdxl_train_cli.failures.signature import Failure, Signature

_ANEW = "`sdxl-train setup --recreate` installs what belongs together"
_PLAIN_ATTENTION = "--set xformers=false --set sdpa=true"

PACKAGES = (
    Signature(
        "numpy-2", Failure.PACKAGES,
        r"numpy\.core\.multiarray failed to import|compiled using NumPy 1\.x|numpy\.dtype size changed"
        r"|_ARRAY_API not found|Numpy is not available|module 'numpy' has no attribute",
        "a package was built for another numpy", _ANEW, "numpy; bmaltais/kohya_ss #3422",
    ),
    Signature(
        "setuptools", Failure.PACKAGES,
        r"No module named '(?:pkg_resources|distutils)|has no attribute 'ImpImporter'|mutable default .* use default_factory|from 'pkg_resources'",
        "a package needs an older setuptools, or an older Python",
        "`sdxl-train setup --python 3.11 --recreate`", "setuptools; bmaltais/kohya_ss #2404",
    ),
    Signature(
        "lycoris-too-new", Failure.PACKAGES, r"infer_schema\(func\): Parameter \w+ has unsupported type",
        "this LyCORIS does not fit this torch", "`sdxl-train setup --extra lycoris --recreate`", "lycoris-lora 4, torch",
    ),
    Signature(
        "no-lycoris", Failure.PACKAGES, r"No module named 'lycoris", "LyCORIS is not installed",
        "`sdxl-train setup --extra lycoris`", "train_network.py",
    ),
    Signature(
        "old-lycoris", Failure.PACKAGES, r"'list' object has no attribute 'named_modules'",
        "this network module does not know SDXL",
        "`sdxl-train setup --extra lycoris --recreate`, or --set network_module=networks.lora",
        "LyCORIS before SDXL; Linaqruf/kohya-trainer #330",
    ),
    Signature(
        "xformers-unfit", Failure.PACKAGES,
        r"No operator found for .?memory_efficient_attention|xFormers wasn't build with CUDA|Could not run 'xformers"
        r"|xformers::\w+|memory_efficient_attention\(\) got",
        "xformers does not fit this torch or this GPU", _PLAIN_ATTENTION, "xformers; sd-scripts #412",
    ),
    Signature(
        "attention-kernel", Failure.PACKAGES,
        r"kernel `?fmha\w+`? is for sm|No available kernel\. Aborting|CUDA error \([^)]*(?:xformers|flash)|Expected is_sm80|CUDA error: invalid (?:configuration )?argument|FlashAttention only supports|flash_attn\w* .*undefined symbol",
        "a kernel, most often of attention, does not fit this GPU or this size", _PLAIN_ATTENTION, "xformers; sd-scripts #2233",
        anywhere=True,
    ),
    Signature(
        "no-xformers", Failure.PACKAGES,
        r"No xformers|No module named 'xformers|facebookresearch/xformers for more information",
        "xformers is not installed", f"{_PLAIN_ATTENTION}, or `sdxl-train setup --extra xformers`",
        "library/train_util.py; diffusers",
    ),
    Signature(
        "bitsandbytes", Failure.PACKAGES,
        r"CUDA Setup failed|libbitsandbytes|libcudart\.so|'WindowsPath' is not iterable|str2optimizer\d+bit"
        r"|'?\bc(?:adam|lion|quantize|dequantize|rmsprop)\w+|No bitsandbytes|No module named 'bitsandbytes"
        r"|Configured CUDA binary not found|No GPU found\. A GPU is needed for quantization"
        r"|module 'bitsandbytes\S* has no attribute|bitsandbytes was not compiled|bitsandbytes\.(?:cextension|functional)",
        "bitsandbytes is missing, or does not work with this GPU or driver",
        "--set optimizer_type=Adafactor --set 'optimizer_args=scale_parameter=False relative_step=False"
        " warmup_init=False', or update the NVIDIA driver",
        "library/train_util.py; sd-scripts #598, bmaltais/kohya_ss #1523",
    ),
    Signature(
        "no-optimizer", Failure.PACKAGES,
        r"No (?:lion_pytorch|dadaptation|Prodigy|schedulefree)\b"
        r"|No module named '(?:lion_pytorch|dadaptation|prodigyopt|prodigyplus|schedulefree|pytorch_optimizer|came_pytorch"
        r"|LoraEasyCustomOptimizer|adv_optm|optimi|apollo_torch|galore_torch)"
        r"|No \w+8bit\. The version of bitsandbytes",
        "the optimizer's package is not installed", "--set optimizer_type=AdamW8bit", "library/train_util.py",
    ),
    Signature(
        "no-logger", Failure.PACKAGES,
        r"No wandb|No module named '(?:wandb|tensorboard)|wandb\.errors|api_key not configured",
        "the program that was to take the log is not installed, or not logged in",
        "--set log_with=tensorboard, or --set log_with=null", "library/train_util.py",
    ),
    Signature(
        "no-triton", Failure.PACKAGES,
        r"TritonMissing|working triton installation|0 active drivers|No module named 'triton|torch\._(?:dynamo|inductor)\.exc"
        r"|BackendCompilerFailed|Compiler: cl is not found|Failed to find C compiler|Python\.h: No such file|InvalidCxxCompiler",
        "torch.compile needs triton, or a compiler, and does not find it", "--set torch_compile=false",
        "torch; Windows has no triton",
    ),
    Signature(
        "tensorflow", Failure.PACKAGES, r"module 'tensorflow' has no attribute|No module named 'tensorflow",
        "a broken tensorflow stands in the way of TensorBoard's log, which needs none",
        "--set log_with=null, or `sdxl-train setup --recreate`, which installs none",
        "tensorboard; bmaltais/kohya_ss #904, #1720",
    ),
    Signature(
        "no-compiler", Failure.PACKAGES,
        r"Error building extension|Ninja is required|CUDA_HOME environment variable is not set|Microsoft Visual C\+\+ 14",
        "a package wanted to build code of its own and found no compiler",
        "--set torch_compile=false --set optimizer_type=AdamW8bit --set xformers=false --set sdpa=true", "torch",
    ),
    Signature(
        "cudnn-library", Failure.PACKAGES,
        r"Could not load library (?:lib)?cudnn\S*|Could not locate zlibwapi|Unable to load any of \{?libcudnn",
        "a library of cuDNN is missing or of another version", f"{_ANEW}; unset LD_LIBRARY_PATH", "cuDNN", anywhere=True,
    ),
    Signature(
        "accelerate-config", Failure.PACKAGES,
        r"is not a valid (?:DistributedType|ComputeEnvironment|DynamoBackend|PrecisionType|SageMakerDistributedType)"
        r"|(?:config|configuration) file at .* had unknown keys|'AcceleratorState' object has no attribute"
        r"|yaml\.(?:parser|scanner)\.\w+Error|(?:Cluster|SageMaker|Base)Config\.__init__\(\) got an unexpected",
        "accelerate's own config file is broken, or of another version",
        "delete ~/.cache/huggingface/accelerate/default_config.yaml; sdxl-train gives every such option itself",
        "accelerate; bmaltais/kohya_ss #505",
    ),
    Signature(
        "triton-kernel", Failure.PACKAGES, r"Triton Error \[|triton\.compiler\.errors|triton\.runtime\.errors",
        "a kernel that triton has built does not run on this GPU, or with this size",
        "--set torch_compile=false --set optimizer_type=AdamW", "triton; pytorch/torchdynamo #1632",
    ),
    Signature(
        "no-deepspeed", Failure.PACKAGES, r"[Dd]eep[Ss]peed is not installed|No module named 'deepspeed",
        "DeepSpeed is not installed", "--set deepspeed=false", "library/deepspeed_utils.py", anywhere=True,
    ),
    Signature(
        "hub-too-new", Failure.PACKAGES, r"cannot import name '(?:cached_download|split_torch_state_dict_into_shards)'",
        "huggingface_hub does not fit diffusers", _ANEW, "huggingface_hub 0.26; kijai/ComfyUI-FluxTrainer #178",
    ),
    Signature(
        "torchvision-unfit", Failure.PACKAGES,
        r"operator torchvision::nms does not exist|load custom C\+\+ ops|functional_tensor",
        "torchvision does not fit torch", _ANEW, "torchvision",
    ),
    Signature(
        "library-unfit", Failure.PACKAGES,
        r"undefined symbol|cannot open shared object file|Could not (?:load library|locate) (?:lib)?(?:cudnn|cublas|nvrtc)"
        r"|nvrtc: error|Invalid handle\. Cannot load symbol cudnn",
        "libraries of torch and CUDA do not fit each other", f"{_ANEW}; unset LD_LIBRARY_PATH", "torch, Linux",
    ),
    Signature(
        "protobuf", Failure.PACKAGES, r"Descriptors cannot (?:not )?be created directly|_message'? .*protobuf",
        "protobuf does not fit another package", _ANEW, "protobuf",
    ),
    Signature(
        "old-torch-for-ckpt", Failure.PACKAGES, r"upgrade torch to at least v2\.6|CVE-2025-32434",
        "this transformers opens no pickled model with this torch", "give --model a .safetensors file", "transformers",
    ),
    Signature(
        "no-trainer", Failure.PACKAGES,
        r"can't open file '[^']*\.py'|No module named '(?:library(?:\.\w+)*|networks)'",
        "sd-scripts is not where the trainer was started, or not whole", "`sdxl-train setup --recreate`",
        "Python; bmaltais/kohya_ss #2303", anywhere=True,
    ),
    Signature(
        "no-accelerate", Failure.PACKAGES,
        r"'accelerate' is not recognized|accelerate: (?:command )?not found|No module named '?accelerate"
        r"|Fatal error in launcher",
        "accelerate is not installed, or its environment was moved", "`sdxl-train setup --recreate`", "Windows, Linux", anywhere=True,
    ),
    Signature(
        "broken-package", Failure.PACKAGES,
        r"SyntaxError: |IndentationError: |source code string cannot contain null bytes|importlib\.metadata\.Package"
        r"|PackageNotFoundError",
        "a file of an installed package is broken", "`sdxl-train setup --recreate`", "Python",
        within=r"site-packages|dist-packages|library|importlib",
    ),
    Signature(
        "optimizer-arguments", Failure.SETTINGS,
        r"got an unexpected keyword argument|Invalid (?:learning rate|beta|epsilon|weight_decay|d_coef|momentum|lr)\b",
        "the optimizer does not take one of optimizer_args, or not that value", "--set optimizer_args=null",
        "library/train_util.py: get_optimizer", within=r"get_optimizer",
    ),
    Signature(
        "schedule-unfit", Failure.PACKAGES, r"object has no attribute '_(?:step_count|opt_called)'",
        "this optimizer and this schedule do not know each other: one of them is not torch's own",
        "--set lr_scheduler=cosine --set lr_scheduler_type=null, or --set optimizer_type=AdamW8bit",
        "derrian-distro/LoRA_Easy_Training_Scripts #291",
    ),
    Signature(
        "lycoris-unfit", Failure.PACKAGES,
        r"'(?:Lo[Kk]r|Lo[Hh]a|Lo[Cc]on|Norm|Full|DyLora|Ly[Cc][Oo]ris|GLoRA|IA3)\w*(?:Module|Kohya|Network)\w*' object has no attribute"
        r"|\bLy[Cc][Oo]\w+\.\w+\(\) (?:takes|missing|got)\b",
        "LyCORIS does not fit this sd-scripts, or lacks what an option asks of it, such as scale_weight_norms",
        "`sdxl-train setup --extra lycoris --recreate`, and --set scale_weight_norms=null",
        "lycoris-lora; sd-scripts #1617, bmaltais/kohya_ss #1909, KohakuBlueleaf/LyCORIS #249",
    ),
    Signature(
        "versions-mixed", Failure.PACKAGES,
        r"cannot import name '[^']+' from 'library|'(?:Namespace|LoRANetwork|\w*Dataset(?:Group)?|\w+Subset|Sdxl\w+|\w*NetworkTrainer|\w+Strategy)' object has no attribute"
        r"|UnboundLocalError|NameError: name '\w+' is not defined|modified by an inplace operation"
        r"|takes \d+ positional arguments? but \d+|missing \d+ required positional argument",
        "a fault of this release of sd-scripts, or its files are of different versions",
        "`sdxl-train setup --recreate` takes them all anew; --ref takes another release",
        "sd-scripts #115, wochenlong/lora-scripts-next #144",
    ),
    Signature(
        "conditions-mixed", Failure.PACKAGES, r"values to unpack",
        "sd-scripts' files are of different versions", "`sdxl-train setup --recreate` takes them all anew",
        "sdxl_train_network.py; wochenlong/lora-scripts-next #107", within=r"in (?:call_unet|get_text_cond|process_batch)",
    ),
    Signature(
        "packages-unfit", Failure.PACKAGES,
        r"cannot import name '[^']+' from|Failed to import (?:diffusers|transformers)\.|got an unexpected keyword argument"
        r"|is required for a normal functioning of this module|requires `\w+[<>=]=?[\d.]+`|module '(?:torch|transformers|diffusers|accelerate"
        r"|huggingface_hub|safetensors)[\w.]*' has no attribute|object has no attribute 'is_compiled_module'|between instances of 'TorchVersion'"
        r"|Cannot copy out of meta tensor|Non-consecutive added token|did not match any variant of untagged enum"
        r"|partially initialized module",
        "packages do not fit each other", _ANEW, "Python's imports; bmaltais/kohya_ss #3477",
    ),
    Signature(
        "diffusers-unfit", Failure.PACKAGES, r"duplicated lora name",
        "this diffusers builds the U-Net in another way than sd-scripts expects", _ANEW,
        "networks/lora.py; bmaltais/kohya_ss #645",
    ),
    Signature(
        "no-module", Failure.PACKAGES, r"ModuleNotFoundError: No module named|ImportError: No module named",
        "a package is not installed", "`sdxl-train setup --recreate`", "Python",
    ),
)  # fmt: skip
