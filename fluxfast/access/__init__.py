"""Values of single devices, by name or address: read, watched, written.

``target`` says who is asked, ``selection`` what; ``read`` asks, ``watch`` keeps what was seen over time.
``write`` says what may be written, ``carry_out`` writes and reads back, ``guard`` sees to it that nobody else
does. ``modpoll`` and ``modpoll_options`` are the same in the words of the tool of that name.
"""
