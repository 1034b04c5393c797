package populate_test

import (
	"errors"
	"strings"
	"testing"

	"coditect.ai/platform/app/internal/populate"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// What is filled in is what was asked for, agrees with itself (storetest looks
// at the end), and is filled in once.
func TestPopulate(t *testing.T) {
	t.Parallel()
	e := storetest.New(t)
	plan := populate.Plan{Users: 30, Sessions: 1000, Password: "correct horse battery staple", Seed: 1}
	last := 0
	if err := populate.Run(t.Context(), e.Store, plan, func(users int) { last = users }); err != nil {
		t.Fatal(err)
	}
	report, err := e.Store.Check(t.Context())
	if err != nil || !report.OK() || last != plan.Users {
		t.Fatalf("%v %q, %d users told", err, report.Problems, last)
	}
	for kind, want := range map[string]int{"users": 30, "users_by_email": 30, "tenants": 30, "members": 30, "sessions": 1000, "sessions_by_user": 1000} {
		if got := report.Counts[kind]; got != want {
			t.Errorf("%d %s, want %d: %v", got, kind, want, report.Counts)
		}
	}
	if err := e.Store.View(t.Context(), func(r *store.Reader) error {
		id, err := r.UserIDByEmail(populate.Email(29))
		if err != nil {
			return err
		}
		u, err := r.User(id)
		if !strings.HasPrefix(u.PasswordHash, "$argon2id$") {
			t.Errorf("hash %q", u.PasswordHash)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := populate.Run(t.Context(), e.Store, plan, func(int) {}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("filled twice: %v", err)
	}
}

func TestPlanFaults(t *testing.T) {
	t.Parallel()
	err := populate.Plan{Users: 0, Sessions: -1}.Check()
	if err == nil || !strings.Contains(err.Error(), "users") || !strings.Contains(err.Error(), "sessions") {
		t.Error(err)
	}
}
