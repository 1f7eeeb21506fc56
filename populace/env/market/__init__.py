"""Markets: a limit order book, a marketplace with search and offers, and negotiated deals."""

from populace.env.market.flow import Flow
from populace.env.market.order_book import OrderBook

__all__ = ["Flow", "OrderBook"]
