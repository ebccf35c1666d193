"""The open questions about accelerators: what is compared, and which default an answer proves."""
