"""Runs a command in a real pseudo terminal: our stdin is typed, what it prints is our stdout.

usage: pty-host.py COLUMNS ROWS COMMAND [ARGUMENT...]
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios

columns, rows, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execvp(command[0], command)
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
typed = True
while True:
    ready, _, _ = select.select([master] + ([0] if typed else []), [], [])
    if 0 in ready:
        data = os.read(0, 4096)
        typed = bool(data)
        if data:
            os.write(master, data)
    if master in ready:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux says EIO when the last process has closed the terminal.
            break
        if not data:
            break
        os.write(1, data)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
