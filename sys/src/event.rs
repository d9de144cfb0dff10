//! epoll, signalfd, timerfd, pidfd: what PID 1 waits on.
