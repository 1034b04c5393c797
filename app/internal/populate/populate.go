// Package populate fills an empty store with users and sessions, so that the
// service can be measured at the size that it is to have. Everything is written
// by the store's own records, so every index agrees with them.
package populate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/store"
)

// Plan is what a store is filled with.
type Plan struct {
	Users    int
	Sessions int    // of all users together, as many of each
	Password string // everybody's; "" is nobody's, and nobody can sign in
	Seed     uint64 // the same gives the same ids
}

// Check names every fault of the plan.
func (p Plan) Check() error {
	var faults []error
	if p.Users < 1 || p.Users > 10_000_000 {
		faults = append(faults, fmt.Errorf("users: %d; 1 to 10000000", p.Users))
	}
	if p.Sessions < 0 || p.Sessions > 100_000_000 {
		faults = append(faults, fmt.Errorf("sessions: %d; 0 to 100000000", p.Sessions))
	}
	return errors.Join(faults...)
}

// Email is the address of user n, from 0.
func Email(n int) string { return fmt.Sprintf("user-%d@example.com", n) }

// past is how far back sessions were made.
const past = 90 * 24 * time.Hour

// perTransaction bounds one transaction: some 200 kB of keys and values.
const perTransaction = 200

// Run fills the store; progress is told how many users, of all, have come in. The
// error is store.ErrNotEmpty where something is in the store.
func Run(ctx context.Context, st *store.Store, p Plan, progress func(users int)) error {
	empty, err := st.Empty(ctx)
	if err != nil {
		return fmt.Errorf("look whether the store is empty: %w", err)
	}
	if !empty {
		return store.ErrNotEmpty
	}
	source := rand.NewChaCha8(seedOf(p.Seed))
	password := p.Password
	if password == "" {
		password = uuid.NewString() // that nobody is told
	}
	// One hash for all: a hash for each would take a day and show nothing more.
	hash := auth.PasswordParams{MemoryKiB: 8192, Iterations: 1, Parallelism: 1}.Hash(password)
	var pending []func(*store.Tx)
	flush := func() error {
		err := st.Update(ctx, func(tx *store.Tx) error {
			for _, put := range pending {
				put(tx)
			}
			return nil
		})
		pending = pending[:0]
		return err
	}
	begin := time.Now().Add(-past).UTC().Truncate(time.Millisecond)
	for n := range p.Users {
		u := newcomer{id: idAt(source, begin), email: Email(n), hash: hash, at: begin}
		pending = append(pending, u.put)
		for k := n; k < p.Sessions; k += p.Users { // dealt like cards
			at := begin.Add(time.Duration(source.Uint64() % uint64(past)))
			s := store.Session{
				ID: idAt(source, at), TenantID: auth.SelfTenantID(u.id), UserID: u.id,
				Name: fmt.Sprintf("workspace %d", k), WorkspacePath: fmt.Sprintf("/home/user-%d/workspace-%d", n, k), Metadata: []byte(`{}`),
				CreatedAt: at, UpdatedAt: at, LastActiveAt: at,
			}
			pending = append(pending, func(tx *store.Tx) { tx.PutSession(s) })
			if len(pending) >= perTransaction {
				if err := flush(); err != nil {
					return fmt.Errorf("fill the store, user %d: %w", n, err)
				}
			}
		}
		if len(pending) >= perTransaction || n == p.Users-1 {
			if err := flush(); err != nil {
				return fmt.Errorf("fill the store, user %d: %w", n, err)
			}
		}
		progress(n + 1)
	}
	return nil
}

// newcomer is one user with their own tenant.
type newcomer struct {
	id          uuid.UUID
	email, hash string
	at          time.Time
}

func (u newcomer) put(tx *store.Tx) {
	tenant := auth.SelfTenantID(u.id)
	tx.CreateUser(store.User{
		ID: u.id, Email: u.email, EmailVerified: true, FirstName: "Ada", LastName: "Lovelace",
		PasswordHash: u.hash, CreatedAt: u.at, UpdatedAt: u.at,
	})
	tx.PutTenant(store.Tenant{ID: tenant, Name: "Ada Lovelace", CreatedAt: u.at, UpdatedAt: u.at})
	tx.PutMembership(store.Membership{TenantID: tenant, UserID: u.id, Role: store.RoleOwner, CreatedAt: u.at})
}

// idAt is a UUIDv7 of that time, whose other bits are the source's.
func idAt(source *rand.ChaCha8, at time.Time) (id uuid.UUID) {
	_, _ = source.Read(id[:]) // never fails
	for i, ms := 5, at.UnixMilli(); i >= 0; i, ms = i-1, ms>>8 {
		id[i] = byte(ms)
	}
	id[6], id[8] = id[6]&0x0F|0x70, id[8]&0x3F|0x80
	return id
}

func seedOf(n uint64) (seed [32]byte) {
	binary.LittleEndian.PutUint64(seed[:], n)
	return seed
}
