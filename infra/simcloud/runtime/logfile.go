package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxLog bounds a log file; there are at most two of them for each container.
const maxLog = 4 << 20

// logFile is a container's output, kept to a bounded size.
type logFile struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
}

func openLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	l := &logFile{path: path}
	return l, l.open()
}

func (l *logFile) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write never fails the process whose output it is: what cannot be written is lost.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > maxLog {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p) // see above
		l.size += int64(n)
	}
	return len(p), nil
}

func (l *logFile) rotate() {
	if l.file == nil {
		return
	}
	if errors.Join(l.file.Close(), os.Rename(l.path, l.path+".1"), l.open()) != nil {
		l.file = nil
	}
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// tail returns the last lines of the log at path, over its rotation.
func tail(path string, lines int) ([]byte, error) {
	const most = 1 << 20
	var content []byte
	for _, name := range []string{path + ".1", path} {
		part, err := readEnd(name, most)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read a log: %w", err)
		}
		content = append(content, part...)
	}
	rest := bytes.TrimRight(content, "\n")
	at := len(rest)
	for range lines {
		if at = bytes.LastIndexByte(rest[:at], '\n'); at < 0 {
			return rest, nil
		}
	}
	return rest[at+1:], nil
}

func readEnd(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(file)
}
