package httpapi

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
)

const (
	// unsentBytes is the default of Options.UnsentBytes.
	unsentBytes = 32 << 20
	// unsentShares is among how many users the bound is shared out: one who
	// reads slowly takes no more than a share from the others.
	unsentShares = 8
)

var errUnread = &fault.Error{
	Code: fault.Busy, Message: "Earlier answers to you or to others are still being read; try again shortly.", RetryAfter: time.Second,
}

// unsent bounds the memory of large answers that their clients have not read
// yet: beyond it an answer is dropped, and its client told to come back.
type unsent struct {
	most int

	mu   sync.Mutex
	held int
	by   map[uuid.UUID]int
}

func newUnsent(most int) *unsent {
	if most == 0 {
		most = unsentBytes
	}
	return &unsent{most: most, by: make(map[uuid.UUID]int)}
}

// take holds n bytes for a user until release is called; nil where there is no room.
func (u *unsent) take(user uuid.UUID, n int) (release func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held+n > u.most || u.by[user]+n > u.most/unsentShares {
		return nil
	}
	u.held += n
	u.by[user] += n
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.held -= n
		if u.by[user] -= n; u.by[user] == 0 {
			delete(u.by, user)
		}
	}
}
