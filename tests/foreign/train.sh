#!/bin/bash
LR=1e-4
source venv/bin/activate
accelerate launch --num_cpu_threads_per_process 2 "./sd-scripts/sdxl_train_network.py" \
  --pretrained_model_name_or_path="/home/somebody/models/sd_xl_base_1.0.safetensors" \
  --train_data_dir "/home/somebody/my data" --output_dir=out --resolution=1024,1024 \
  --network_module=networks.lora --network_dim 16 --network_alpha 8 \
  --network_args "conv_dim=8" "conv_alpha=4" \
  --learning_rate=$LR --unet_lr $LR --text_encoder_lr 5e-5 \
  --optimizer_type="AdamW8bit" --optimizer_args "weight_decay=0.1" "betas=(0.9,0.99)" \
  --max_train_epochs=10 --cache_latents --sdpa --mixed_precision=bf16 --seed=$SEED --foo bar \
  --min_snr_gamma=5 --enable_bucket && echo done
