//go:build !rehearsal

package httpapi

// disturbed is true where a build made for rehearsals has answered in the handler's place.
func (*call) disturbed() bool { return false }
