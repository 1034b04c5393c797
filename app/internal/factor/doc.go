// Package factor owns the mechanisms of second factors: the codes of
// authenticator apps, recovery codes, passkeys, and the sealing of what must be
// kept in a form that can be read again.
//
// It keeps nothing and decides nothing about users: rules in auth do. It knows
// the records of store and no more of it.
package factor
