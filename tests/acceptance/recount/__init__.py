"""What the lake must say, counted anew from the raw files by code that shares nothing with the pipeline.

No module here imports cohortlake, spark_jobs, expectations or synthetic; a test holds that.
"""
