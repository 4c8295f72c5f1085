"""Language models behind one waist: engines, any OpenAI-compatible server, replies that were paid for, and prices."""
