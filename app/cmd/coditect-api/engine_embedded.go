//go:build !fdb

package main

import "coditect.ai/platform/app/contract"

var engines = map[string]engine{contract.EngineEmbedded: embedded}
