/** Loaded into a process beside its own program (`--import`): tells its parent how much memory it takes, when asked. */
process.on('message', () => process.send!(process.memoryUsage()));
process.channel!.unref();
