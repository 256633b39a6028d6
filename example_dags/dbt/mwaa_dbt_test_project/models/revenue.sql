select customer, sum(amount) as revenue, count(*) as orders
from {{ ref('orders') }}
group by customer
