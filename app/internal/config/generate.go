package config

//go:generate go run ./document ../../../docs/configuration.md
