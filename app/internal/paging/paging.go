// Package paging owns how lists are cut into pages: the limit, and the cursor
// that leads from one page to the next.
//
// It knows fault and nothing else of the project.
package paging

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
)

// Bounds of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Request asks for a page.
type Request struct {
	Limit  int    // 0 is DefaultLimit
	Cursor string // the Next of the page before; "" for the first
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T
	Next  string // the cursor of the next page; "" after the last
}

// A cursor is a version, the id of the last item of a page, and a check that
// binds it to the list and whose it is. The check is no secret and needs none:
// a page only ever holds what the caller may see, whatever the cursor; it is
// there so that a cursor that went astray is named as such.
const (
	cursorVersion = 1
	cursorCheck   = 8
	cursorBytes   = 1 + len(uuid.UUID{}) + cursorCheck
)

// Cursor returns the cursor of what follows id in the named list of an owner.
func Cursor(id uuid.UUID, list string, owner ...uuid.UUID) string {
	body := append([]byte{cursorVersion}, id[:]...)
	return base64.RawURLEncoding.EncodeToString(append(body, check(body, list, owner)...))
}

func check(body []byte, list string, owner []uuid.UUID) []byte {
	text := slices.Concat(body, []byte(list))
	for _, id := range owner {
		text = append(text, id[:]...)
	}
	sum := sha256.Sum256(text)
	return sum[:cursorCheck]
}

// ParseCursor returns the id of a cursor, if it is of this list and owner.
func ParseCursor(text, list string, owner ...uuid.UUID) (uuid.UUID, bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(cursorBytes) {
		return uuid.Nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != cursorBytes || b[0] != cursorVersion {
		return uuid.Nil, false
	}
	body, sum := b[:cursorBytes-cursorCheck], b[cursorBytes-cursorCheck:]
	return uuid.UUID(body[1:]), bytes.Equal(sum, check(body, list, owner))
}

// Parse returns where the page begins, uuid.Nil for the first, and how many
// items it has, or fault.InvalidRequest.
func (q Request) Parse(list string, owner ...uuid.UUID) (from uuid.UUID, limit int, err error) {
	limit = q.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 1 || limit > MaxLimit {
		return uuid.Nil, 0, invalid("limit", "must be 1 to 200")
	}
	if q.Cursor != "" {
		var ok bool
		if from, ok = ParseCursor(q.Cursor, list, owner...); !ok {
			return uuid.Nil, 0, ErrCursor
		}
	}
	return from, limit, nil
}

// ErrCursor answers a cursor that leads nowhere.
var ErrCursor = invalid("cursor", "must be the next_cursor of an earlier page of yours")

func invalid(field, problem string) *fault.Error {
	return &fault.Error{
		Code: fault.InvalidRequest, Message: "A parameter is not valid; see fields.",
		Fields: []fault.Field{{Field: field, Problem: problem}},
	}
}

// Of makes the page of records, which more follow or do not. view gives each
// its form and its id, and tells whether to show it.
func Of[R, T any](records []R, more bool, view func(R) (item T, id uuid.UUID, shown bool), list string, owner ...uuid.UUID) Page[T] {
	page := Page[T]{Items: make([]T, 0, len(records))}
	var last uuid.UUID
	for _, rec := range records {
		item, id, shown := view(rec)
		if last = id; shown {
			page.Items = append(page.Items, item)
		}
	}
	if more {
		page.Next = Cursor(last, list, owner...)
	}
	return page
}
