package store

// CutWalks has walks read so many keys at a time and so many bytes a transaction.
func CutWalks(s *Store, page, size int) { s.bounds = bounds{page, size} }
