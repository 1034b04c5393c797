package store

import (
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

const (
	// MaxPageBytes bounds the values of one page of records: a list ends early
	// rather than exceed it, but for a first record that is larger by itself.
	MaxPageBytes = 256 << 10
	// pageChunk is how many records are read at once: what is read in vain of a
	// page that ends early.
	pageChunk = 64
)

// scanPage reads up to limit pairs, the last key first, and ends early once
// they have MaxPageBytes. more tells whether there are others.
func (r *Reader) scanPage(keys kv.Range, limit int) (pairs []kv.Pair, more bool, err error) {
	for size := 0; ; {
		want := min(pageChunk, limit+1-len(pairs))
		chunk, err := r.scan(keys, kv.RangeOptions{Limit: want, Reverse: true})
		if err != nil {
			return nil, false, err
		}
		for _, p := range chunk {
			size += len(p.Value)
			if len(pairs) == limit || len(pairs) > 0 && size > MaxPageBytes {
				return pairs, true, nil
			}
			pairs = append(pairs, p)
		}
		if len(chunk) < want {
			return pairs, false, nil
		}
		keys.End = chunk[len(chunk)-1].Key
	}
}

// newestFirst reads a page of records whose keys are list and an id: up to
// limit of them, or as many as MaxPageBytes hold, and with a before that is not
// nil those older than it. more tells whether there are others.
func newestFirst[T record](r *Reader, list tuple.Key, before uuid.UUID, limit int, name func(*T, uuid.UUID)) (page []T, more bool, err error) {
	keys := below(list)
	if before != uuid.Nil {
		keys.End = list.UUID(before)
	}
	pairs, more, err := r.scanPage(keys, limit)
	if err != nil {
		return nil, false, err
	}
	page = make([]T, 0, len(pairs))
	for _, p := range pairs {
		rec, err := decode[T](p.Value)
		if err != nil {
			return nil, false, err
		}
		id, err := lastID(p.Key)
		if err != nil {
			return nil, false, err
		}
		name(&rec, id)
		page = append(page, rec)
	}
	return page, more, nil
}
