module coditect.ai/platform/app

go 1.26.0
