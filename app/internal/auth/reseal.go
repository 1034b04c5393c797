package auth

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
)

// Resealed tells of the secrets of authenticator apps: how many the key that
// seals today had sealed already, how many it has sealed now, and whose could
// not be opened, because the key that sealed them is not in the ring.
type Resealed struct {
	Current, Anew int
	Lost          []uuid.UUID
}

// Reseal seals the secret of every authenticator app with the key that seals
// today, a user a transaction, while the service is used. Without an error and
// with none lost, every other key may leave the ring: provided that no process
// seals with one of them any more. It may be cut short and run again.
func (s *Service) Reseal(ctx context.Context) (Resealed, error) {
	var done Resealed
	owners, err := s.store.AppOwners(ctx)
	if err != nil {
		return done, err
	}
	for _, userID := range owners {
		var one Resealed
		err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
			one, err = s.resealUser(tx, userID)
			return err
		})
		if err != nil {
			return done, fmt.Errorf("sealing anew the authenticator app of user %s: %w", userID, err)
		}
		done.Current, done.Anew, done.Lost = done.Current+one.Current, done.Anew+one.Anew, append(done.Lost, one.Lost...)
	}
	return done, nil
}

func (s *Service) resealUser(tx *store.Tx, userID uuid.UUID) (Resealed, error) {
	f, err := tx.Factors(userID)
	if err != nil {
		return Resealed{}, err
	}
	if f.TOTP == nil { // removed meanwhile
		return Resealed{}, nil
	}
	if s.sealer.Current(f.TOTP.Sealed) {
		return Resealed{Current: 1}, nil
	}
	secret, err := s.sealer.Open(f.TOTP.Sealed, totpPlace(userID))
	if err != nil {
		return Resealed{Lost: []uuid.UUID{userID}}, nil //nolint:nilerr // told with all that are
	}
	app := *f.TOTP
	app.Sealed = s.sealer.Seal(secret, totpPlace(userID))
	f.TOTP = &app
	tx.PutFactors(f)
	return Resealed{Anew: 1}, nil
}
