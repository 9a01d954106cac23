-- Every sample that the lake's table `digits` held at the run's as-of time.
SELECT * FROM digits ORDER BY sample
