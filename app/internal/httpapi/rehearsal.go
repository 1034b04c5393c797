//go:build rehearsal

package httpapi

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// rehearsed is the fault of this build, set by the linker: "errors", "slow" or "crash".
var rehearsed string

// A bad release, as rollouts are rehearsed with. Its probes are answered as ever:
// a release that is not ready never gets a request.
const (
	errorsEvery = 5
	slowBy      = 6 * time.Second
	crashAfter  = 2 * time.Second
	crashCode   = 70
)

var (
	errRehearsed = errors.New("coditect rehearsal: a fault on purpose")
	asked        atomic.Uint64
	crashing     sync.Once
)

// disturbed is true where this build has answered in the handler's place.
func (c *call) disturbed() bool {
	switch {
	case c.route.Probe:
	case rehearsed == "crash":
		crashing.Do(func() { time.AfterFunc(crashAfter, func() { os.Exit(crashCode) }) })
	case rehearsed == "slow":
		time.Sleep(slowBy)
	case rehearsed == "errors" && asked.Add(1)%errorsEvery == 0:
		c.refuse(errRehearsed)
		return true
	}
	return false
}
