"""The currency-rates and card-charging service the shop calls."""
