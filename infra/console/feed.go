package console

import "sync"

// maxWatchers bounds the pages that are open at the same time.
const maxWatchers = 32

// feed hands the newest snapshot to every open page. A slow page misses
// snapshots in between and never the newest, and holds up nobody.
type feed struct {
	mu       sync.Mutex
	watchers map[chan Snapshot]bool
}

// watched tells whether anybody looks.
func (f *feed) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers) > 0
}

// join adds a watcher; ok is false where there are too many.
func (f *feed) join() (ch chan Snapshot, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) >= maxWatchers {
		return nil, false
	}
	if f.watchers == nil {
		f.watchers = map[chan Snapshot]bool{}
	}
	ch = make(chan Snapshot, 1)
	f.watchers[ch] = true
	return ch, true
}

func (f *feed) leave(ch chan Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, ch)
}

func (f *feed) publish(s Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.watchers {
		select {
		case <-ch: // the one before, not taken yet
		default:
		}
		ch <- s // publish is the only sender, so there is room
	}
}
