"""What the claims of the web study rest on: laws of a web, and questions that the article leaves open. No JAX here."""

SHUMAILOV = "Shumailov et al. 2024, discussion"
LAW_OF_WEB = "law of a polluted web"
LAW_OF_FILTERS = "law of a blind detector"


def departure_of(source: str, model: str) -> str:
    """Return in what a run departs from what a claim's source is about, "" for nothing."""
    if source != SHUMAILOV:
        return ""
    return f"published: a question about language models, here {'a tiny OPT' if model == 'opt' else 'Gaussians'}"
