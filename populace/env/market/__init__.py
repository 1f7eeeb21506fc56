"""Markets: a limit order book, a marketplace with search and offers, and negotiated deals."""

from populace.env.market.bargain import Bargain
from populace.env.market.directory import Directory
from populace.env.market.flow import Flow
from populace.env.market.order_book import OrderBook

__all__ = ["Bargain", "Directory", "Flow", "OrderBook"]
