package program

import "testing"

// A release by another revision of the program leaves on record who made the rest.
func TestMadeBy(t *testing.T) {
	for _, c := range []struct {
		to             purpose
		was, now, want string
	}{
		{whole, "old", "new", "new"},
		{rebuild, "old", "new", "new"},
		{release, "old", "new", "old"},
		{release, "", "new", "new"},
		{whole, "old", "", ""},
		{release, "old", "", "old"},
	} {
		if got := madeBy(c.to, c.was, c.now); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
