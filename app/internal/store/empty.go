package store

import (
	"context"

	"coditect.ai/platform/app/internal/kv"
)

// Empty reports whether nothing is in the store.
func (s *Store) Empty(ctx context.Context) (empty bool, err error) {
	err = s.View(ctx, func(r *Reader) error {
		pairs, err := r.scan(below(r.space.prefix), kv.RangeOptions{Limit: 1})
		empty = len(pairs) == 0
		return err
	})
	return empty, err
}
