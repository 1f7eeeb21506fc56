"""Conversations: `Talk` is the part, `Phase` a stretch under one protocol, `converse` the agent's side."""

from populace.env.talk.conversation import Conversation
from populace.env.talk.part import Talk
from populace.env.talk.protocols import Phase
from populace.env.talk.talking import converse

__all__ = ["Conversation", "Phase", "Talk", "converse"]
