"""What to cite: the papers of attentions, the libraries that models come from, and a run."""

import re
from collections.abc import Iterable

from xbench.analysis.results import Results
from xbench.attention.registry import facts_of
from xbench.attention.spec import split_spec

SKELETON = "2207.07268"
# By arXiv id: first author, title.
PAPERS = {
    "1706.03762": ("Vaswani, Ashish", "Attention Is All You Need"),
    "1812.01243": ("Shen, Zhuoran", "Efficient Attention: Attention with Linear Complexities"),
    "1904.11492": ("Cao, Yue", "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond"),
    "2006.04768": ("Wang, Sinong", "Linformer: Self-Attention with Linear Complexity"),
    "2006.16236": (
        "Katharopoulos, Angelos",
        "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
    ),
    "2009.14794": ("Choromanski, Krzysztof", "Rethinking Attention with Performers"),
    "2102.12122": (
        "Wang, Wenhai",
        "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions",
    ),
    "2103.14030": ("Liu, Ze", "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"),
    "2105.02358": (
        "Guo, Meng-Hao",
        "Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
    ),
    "2106.09681": ("El-Nouby, Alaaeldin", "XCiT: Cross-Covariance Image Transformers"),
    "2111.11418": ("Yu, Weihao", "MetaFormer Is Actually What You Need for Vision"),
    "2205.14135": ("Dao, Tri", "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness"),
    "2205.14756": ("Cai, Han", "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction"),
    "2206.02680": ("Mehta, Sachin", "Separable Self-attention for Mobile Vision Transformers"),
    "2207.07268": ("Zhao, Youpeng", "Lightweight Vision Transformer with Cross Feature Attention"),
    "2209.07484": ("Bolya, Daniel", "Hydra Attention: Efficient Attention with Many Heads"),
    "2210.13452": ("Yu, Weihao", "MetaFormer Baselines for Vision"),
    "2303.15446": (
        "Shaker, Abdelrahman",
        "SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision Applications",
    ),
    "2308.00442": ("Han, Dongchen", "FLatten Transformer: Vision Transformer using Focused Linear Attention"),
    "2312.08874": ("Han, Dongchen", "Agent Attention: On the Integration of Softmax and Linear Attention"),
    "2404.10518": ("Qin, Danfeng", "MobileNetV4: Universal Models for the Mobile Ecosystem"),
    "2405.16605": ("Han, Dongchen", "Demystify Mamba in Vision: A Linear Attention Perspective"),
    "2409.04431": ("Ramapuram, Jason", "Theory, Analysis, and Best Practices for Sigmoid Self-Attention"),
}
TIMM = """\
@misc{rw2019timm,
  author = {Wightman, Ross},
  title = {PyTorch Image Models},
  year = {2019},
  doi = {10.5281/zenodo.4414861},
}"""


def attention_bibtex(specs: Iterable[str]) -> list[str]:
    """An entry for the paper of each attention that names one, each paper once; the skeleton's first."""
    specs = list(specs)
    ids = dict.fromkeys([SKELETON] if specs else [])
    for spec in specs:
        info = facts_of(split_spec(spec)[0])
        found = re.search(r"\d{4}\.\d{4,5}", info.paper if info else "")
        if found:
            ids[found[0]] = None
    return [_paper(id) for id in ids]


def run_bibtex(results: Results, name: str, question: str) -> list[str]:
    """Entries for a run: itself, the papers of its attentions, and timm where it compares timm's models."""
    last = results.records[-1]
    by = ", ".join(f"{library} {version}" for library, version in last.versions.items())
    when = last.time[:4]
    fields = {
        "title": question,
        "year": when,
        "howpublished": f"A run of xbench, commit {last.commit or 'unknown'}",
        "note": f"{last.machine.get('cpu') or 'unknown machine'}; {by}",
    }
    cases = results.cases.values()
    papers = attention_bibtex(case["attn"] for case in cases if case["attn"])
    timm = [TIMM] if any(case["baseline"] for case in cases) else []
    return [_entry(f"xbench-{re.sub(r'[^A-Za-z0-9-]+', '-', name)}", fields), *papers, *timm]


def _paper(arxiv: str) -> str:
    author, title = PAPERS.get(arxiv, ("", ""))
    year = f"20{arxiv[:2]}"
    fields = {
        "author": f"{author} and others" if author else "",
        "title": title,
        "year": year,
        "eprint": arxiv,
        "archivePrefix": "arXiv",
    }
    key = author.partition(",")[0].lower().replace("-", "") + year + arxiv[-5:] if author else f"arxiv{arxiv}"
    return _entry(key, fields)


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{_escaped(text)}}}," for name, text in fields.items() if text]
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def _escaped(text: str) -> str:
    """Text without what BibTeX and LaTeX would read as markup."""
    return re.sub(r"([&%_#$])", r"\\\1", re.sub(r"[\\{}^~]", "", text))
