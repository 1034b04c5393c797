package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// wire is a keep-alive connection that sends prepared requests and reads
// answers with next to no work of its own, so that what a benchmark measures
// is the server.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(ctx context.Context, base string) (*wire, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	return &wire{conn, bufio.NewReader(conn)}, nil
}

// message writes a request as it goes over the wire.
func message(method, target, token, body string) []byte {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), u.Host)
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(&b, "\r\n%s", body)
	return b.Bytes()
}

// roundTrip sends a message and returns the status of its answer.
func (w *wire) roundTrip(message []byte) (int, error) {
	if err := w.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	if _, err := w.conn.Write(message); err != nil {
		return 0, err
	}
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, err
	}
	length := 0
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	_, err = io.CopyN(io.Discard, w.in, int64(length))
	return status, err
}

// measured is what a number of clients saw.
type measured struct {
	statuses map[int]int
	took     []time.Duration // of each answer
	elapsed  time.Duration
}

func (l measured) perSecond(status int) float64 {
	return float64(l.statuses[status]) / l.elapsed.Seconds()
}

func (l measured) percentile(p float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	return l.took[min(len(l.took)-1, int(p*float64(len(l.took))))]
}

// drive has clients send messages to base, each one after the other with a
// pause between, for the time given.
func drive(tb testing.TB, base string, clients int, message []byte, pause, length time.Duration) measured {
	tb.Helper()
	var (
		mu  sync.Mutex
		all = measured{statuses: map[int]int{}}
		wg  sync.WaitGroup
	)
	wires := make([]*wire, clients)
	for i := range wires {
		var err error
		wires[i], err = dial(tb.Context(), base)
		must(tb, err)
	}
	begin := time.Now()
	for _, w := range wires {
		wg.Go(func() {
			mine := measured{statuses: map[int]int{}}
			for time.Since(begin) < length {
				sent := time.Now()
				status, err := w.roundTrip(message)
				if err != nil {
					tb.Error(err)
					break
				}
				mine.statuses[status]++
				mine.took = append(mine.took, time.Since(sent))
				time.Sleep(pause)
			}
			mu.Lock()
			defer mu.Unlock()
			all.took = append(all.took, mine.took...)
			for status, n := range mine.statuses {
				all.statuses[status] += n
			}
		})
	}
	wg.Wait()
	all.elapsed = time.Since(begin)
	for _, w := range wires {
		must(tb, w.conn.Close())
	}
	return all
}
