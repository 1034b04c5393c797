#include "loop.h"

void Loop::post(std::function<void()> task) {
	{
		std::lock_guard<std::mutex> hold(mutex);
		tasks.push_back(std::move(task));
	}
	wake.notify_one();
}

void Loop::at(Clock::time_point when, std::function<void()> task) {
	{
		std::lock_guard<std::mutex> hold(mutex);
		timers.emplace(when, std::move(task));
	}
	wake.notify_one();
}

fdb_error_t Loop::run() {
	std::unique_lock<std::mutex> hold(mutex);
	while (!stopped) {
		std::function<void()> task;
		if (!timers.empty() && timers.begin()->first <= Clock::now()) {
			task = std::move(timers.begin()->second);
			timers.erase(timers.begin());
		} else if (!tasks.empty()) {
			task = std::move(tasks.front());
			tasks.pop_front();
		} else if (!timers.empty()) {
			auto when = timers.begin()->first; // a copy: the timer may go while this waits
			wake.wait_until(hold, when);
			continue;
		} else {
			wake.wait(hold);
			continue;
		}
		hold.unlock();
		task();
		task = nullptr; // what it held is let go outside of the lock
		hold.lock();
	}
	return cause;
}

void Loop::stop() { die(0); }

void Loop::die(fdb_error_t code) {
	{
		std::lock_guard<std::mutex> hold(mutex);
		stopped = true;
		cause = code;
	}
	wake.notify_one();
}

// Never destroyed: the process may end while the network thread runs.
Loop& loop() {
	static Loop* the = new Loop;
	return *the;
}

bool Promise::ready() {
	std::lock_guard<std::mutex> hold(mutex);
	return done;
}

void Promise::finish(fdb_error_t code) {
	FDBCallback call;
	{
		std::lock_guard<std::mutex> hold(mutex);
		if (done)
			return;
		done = true;
		error = code;
		call = callback;
	}
	if (call)
		call(handle, argument);
}

void Promise::on_ready(FDBFuture* future, FDBCallback call, void* with) {
	{
		std::lock_guard<std::mutex> hold(mutex);
		if (!done) {
			handle = future;
			callback = call;
			argument = with;
			return;
		}
	}
	call(future, with);
}
