"A Qwen2 of two layers with random weights, a trained byte-level tokenizer and a chat template: real mechanics, no meaning."
from pathlib import Path

TEXT = ["The river of Lumara is the Veth.", "维斯河流经卢马拉。", '{"question": "Which river?", "answer": "Veth"}']
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def make_tokenizer(folder: Path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(TEXT * 4, trainers.BpeTrainer(vocab_size=384, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                                         initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_model(folder: Path, seed: int = 0, hidden: int = 64, spread: float = 0.3) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    tokenizer = make_tokenizer(folder)
    torch.manual_seed(seed)
    # heads of 32, the least that vLLM has on a CPU; a wide spread keeps the logits apart, so that rounding cannot change a greedy choice
    config = Qwen2Config(vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
                         max_position_embeddings=128, initializer_range=spread, eos_token_id=tokenizer.eos_token_id, bos_token_id=None)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def make_adapter(model: Path, folder: Path, seed: int = 1) -> Path:
    "A LoRA of the paper's rank, 64, with random weights in both of its matrices."
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    torch.manual_seed(seed)
    lora = LoraConfig(r=64, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), lora).save_pretrained(folder)
    return folder
