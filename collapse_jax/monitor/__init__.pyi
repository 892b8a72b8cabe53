from collapse_jax.monitor.forecast import Forecast as Forecast
from collapse_jax.monitor.forecast import effective_size as effective_size
from collapse_jax.monitor.kinds.kind import Moments as Moments
from collapse_jax.monitor.monitor import Monitor as Monitor
from collapse_jax.monitor.readings import Measured as Measured
from collapse_jax.monitor.readings import Reading as Reading
