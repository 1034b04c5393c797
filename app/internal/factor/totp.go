package factor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6238's default, and all that common apps know; HMAC does not need its collision resistance
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// What every authenticator app supports (RFC 6238).
const (
	totpPeriod = 30 // seconds of a time step
	totpDigits = 6
	totpSecret = sha1.Size // bytes: as long as the hash (RFC 4226, 4)
	totpDrift  = 1         // time steps that a phone's clock may be off, either way
)

// NewTOTPSecret makes the secret of an authenticator app.
func NewTOTPSecret() []byte {
	secret := make([]byte, totpSecret)
	_, _ = rand.Read(secret) // never fails
	return secret
}

// TOTPText is the secret as people type it.
func TOTPText(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// TOTPURI is what an app reads from a QR code.
func TOTPURI(secret []byte, issuer, account string) string {
	label := url.PathEscape(issuer) + ":" + url.PathEscape(account)
	return fmt.Sprintf("otpauth://totp/%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		label, TOTPText(secret), url.QueryEscape(issuer), totpDigits, totpPeriod)
}

// TOTPCode is what an app shows at a time.
func TOTPCode(secret []byte, at time.Time) string { return hotp(secret, stepOf(at), totpDigits) }

// MatchTOTP reports whether code is the app's of now or of a step beside it,
// and later than the step last: a code is good once. It returns the step.
func MatchTOTP(secret []byte, code string, now time.Time, last int64) (step int64, ok bool) {
	code = strings.Map(func(r rune) rune {
		if r == ' ' { // apps show them in groups
			return -1
		}
		return r
	}, code)
	current := stepOf(now)
	for s := current - totpDrift; s <= current+totpDrift; s++ { // all of them, whichever matches
		if subtle.ConstantTimeCompare([]byte(hotp(secret, s, totpDigits)), []byte(code)) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

func stepOf(at time.Time) int64 { return at.Unix() / totpPeriod }

// hotp is RFC 4226's code of a counter.
func hotp(secret []byte, counter int64, digits int) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, counter) // a hash takes everything
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xF
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7FFFFFFF
	modulus := uint32(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, number%modulus)
}
