"""Orders, the book that matches them, and the positions that come of it. Prices are whole cents."""

from trades.book import OrderBook
from trades.ledger import Ledger, Position
from trades.orders import Order, RejectedOrder, Side, Trade

__all__ = ["Ledger", "Order", "OrderBook", "Position", "RejectedOrder", "Side", "Trade"]
