package store

// CutWalks has walks read so many keys at a time and so many bytes a transaction.
func CutWalks(s *Store, page, size int) { s.bounds = bounds{page, size} }

// Trying reports whether the store is finding out if it can write.
func (s *Store) Trying() bool {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.flight != nil
}
