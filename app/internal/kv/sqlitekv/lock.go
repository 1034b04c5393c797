package sqlitekv

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// fileLock is the lock of the store's writers, one at a time among all handles
// and processes. Waiters block in the kernel, which wakes them as soon as the
// holder leaves or dies, where SQLite's own lock would have them poll.
type fileLock struct{ file *os.File }

func openLock(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &fileLock{f}, nil
}

// errGaveUp reports that lock was told to stop waiting.
var errGaveUp = errors.New("gave up waiting for the writers' lock")

// lock waits for the lock until stop is closed. After errGaveUp the lock is good
// for nothing but close, which also lets go of what the kernel may still grant.
func (l *fileLock) lock(stop <-chan struct{}) error {
	err := l.flock(syscall.LOCK_EX | syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	got := make(chan error, 1)
	go func() { got <- l.flock(syscall.LOCK_EX) }()
	select {
	case err := <-got:
		return err
	case <-stop:
		return errGaveUp
	}
}

func (l *fileLock) unlock() error { return l.flock(syscall.LOCK_UN) }

// flock holds on to the file until the kernel answers, whoever closes it meanwhile.
func (l *fileLock) flock(how int) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var locking error
	if err := raw.Control(func(fd uintptr) {
		for {
			if locking = syscall.Flock(int(fd), how); !errors.Is(locking, syscall.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	if locking != nil {
		return fmt.Errorf("lock %s: %w", l.file.Name(), locking)
	}
	return nil
}

func (l *fileLock) close() error { return l.file.Close() }
