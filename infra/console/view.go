package console

import (
	"time"

	"coditect.ai/platform/infra/journal"
)

// Snapshot is all that the page shows, at one moment.
type Snapshot struct {
	At time.Time `json:"at"`
	// Environment is the one that the console acts on.
	Environment  string        `json:"environment"`
	Environments []Environment `json:"environments"`
	// Rollout is the one in progress, or the last; nil if there was none.
	Rollout *Rollout `json:"rollout"`
	// Retirement is that of API v2; nil if there was none.
	Retirement *Retirement `json:"retirement"`
	Backups    []Backup    `json:"backups"` // the newest first
	// Proven is the last restore that was proven; nil if none was.
	Proven     *Proven         `json:"proven"`
	Operations []journal.Entry `json:"operations"` // the newest first
	Actions    []Action        `json:"actions"`
	// Run is the action that runs, or the last; nil if there was none.
	Run *Run `json:"run"`
	// Unread names what could not be read, and why.
	Unread []string `json:"unread"`
}

// Health of an environment, in words.
const (
	Healthy  = "healthy"
	Degraded = "degraded" // it serves, and something is wrong
	Down     = "down"
	Absent   = "absent"  // it is not there
	Unknown  = "unknown" // it could not be asked
)

// Environment is how one environment is.
type Environment struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Health string `json:"health"`
	Detail string `json:"detail"`
	Slots  []Slot `json:"slots"`
}

// Slot is one of the two places of a release.
type Slot struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"` // percent of requests that it is to have
	// Share of requests that it had, 0 to 1; nil where they are not counted.
	Share   *float64 `json:"share"`
	Ready   int      `json:"ready"`   // pods
	Desired int      `json:"desired"` // pods
}

// Rollout is a release on its way.
type Rollout struct {
	ID      string  `json:"id"`
	Version string  `json:"version"`
	State   string  `json:"state"`
	Stages  []Stage `json:"stages"`
	// Waiting says what it waits for; Until is when it stops waiting, zero if never.
	Waiting string `json:"waiting"`
	// Attention is what a person is asked to decide; empty if nothing.
	Attention string    `json:"attention"`
	Until     time.Time `json:"until,omitzero"`
	Stable    Series    `json:"stable"`
	Canary    Series    `json:"canary"`
}

// Retirement is API v2 on its way out.
type Retirement struct {
	State string `json:"state"`
	// Text says in a line what it is at.
	Text string `json:"text"`
	// Waiting, Attention and Until are as a rollout's.
	Waiting   string    `json:"waiting"`
	Attention string    `json:"attention"`
	Until     time.Time `json:"until,omitzero"`
}

// Stage is one step of a release.
type Stage struct {
	Name string `json:"name"`
	// State is "done", "now", "next" or "failed".
	State string `json:"state"`
}

// Series is what was measured of one slot over time.
type Series struct {
	Slot   string  `json:"slot"`
	Points []Point `json:"points"` // the oldest first
}

// Point is one measurement.
type Point struct {
	At        time.Time `json:"at"`
	Requests  float64   `json:"requests"`   // a second
	ErrorRate float64   `json:"error_rate"` // 0 to 1
	P99       float64   `json:"p99"`        // seconds
}

// Backup is one that can be restored.
type Backup struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Bytes   int64     `json:"bytes"` // 0 where that is not known, nor the records
	Records int64     `json:"records"`
}

// Proven is a restore that was held against its backup.
type Proven struct {
	At     time.Time `json:"at"`
	Backup string    `json:"backup"`
	RPO    *float64  `json:"rpo"` // seconds; nil where it is not known
	RTO    float64   `json:"rto"` // seconds
	OK     bool      `json:"ok"`
}

// Action is what the page offers to do: a command of the operator's.
type Action struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Consequence says what will happen, for the confirmation.
	Consequence string `json:"consequence"`
	// Danger marks what takes traffic or data away.
	Danger bool `json:"danger"`
	// When tells whether the page offers it now; without it, always.
	When func(Snapshot) bool `json:"-"`
	// Command is what runs; the same may be typed in a terminal.
	Command []string `json:"command"`
}

// Run is one run of an action.
type Run struct {
	Action  string    `json:"action"`
	Began   time.Time `json:"began"`
	Running bool      `json:"running"`
	// Failure says how it failed; empty if it did not.
	Failure string `json:"failure"`
	Output  string `json:"output"` // its end
}
