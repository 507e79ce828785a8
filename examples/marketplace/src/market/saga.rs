//! The steps of an order. Each step is idempotent, and each result is stored before the next step begins.
//!
//! | status | step | next status |
//! |---|---|---|
//! | `open` | reserve the listing ([`purchase`](super::purchase)) | `reserved` |
//! | `reserved` | debit the buyer, key `order:<id>:pay` | `paid`; `open` if the wallet refuses |
//! | `paid` | transfer the token on the chain, by order id | `settled`; `refunding` if the chain refuses |
//! | `settled` | credit the seller, key `order:<id>:payout` | `sold` |
//! | `refunding` | credit the buyer, key `order:<id>:refund` | `open` |
//!
//! After `sold`, the sale is announced in the seller's chat room. The announcement is lost if the process ends before it.
//!
//! A step can end without a result: a part is away, an answer is lost, or the process is killed. The order then keeps its status,
//! and the [`repair`](super::repair) runs the same step again. If the wallet refuses a change for good after `paid`, each repair
//! reports an error that contains the id of the order, until an operator has corrected the cause. An instance that works on an order holds the order's lease
//! (`MARKETPLACE_ORDER_LEASE_SECONDS`), and renews it with each step. Two instances can still run the same step at once, for
//! instance if one of them was suspended. This is safe for three reasons:
//!
//! - The wallet and the chain return the same answer for the same order.
//! - A listing reopens without a refund only from `reserved`, and the chain is called only after `paid` is stored. The database
//!   accepts one of the two changes.
//! - Only the holder of the lease changes the row. A process that has debited the buyer and then finds the order ended, returns
//!   the money with the order's own key. If this process is killed before, the repair returns the money
//!   ([`late_payment`](super::late_payment)).

use std::fmt;

use sea_orm::DbErr;
use tower_apm::Transaction;

use super::{
    Market,
    entity::{Model as Listing, Status},
    order::Order,
};
use crate::{
    chain::{ChainError, Settled, Transfer},
    money::Amount,
    wallet::{Change, WalletError, change::ORDER_KEYS},
};

/// The outcome of an order.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The chain has settled the order, and the seller is paid.
    Sold(Settled),
    /// The chain has settled the order. The repair will pay the seller.
    Unfinished(Settled, UndecidedError),
    /// The wallet refuses the debit: the balance does not cover the price, or the change is invalid. The listing is open again.
    NotPaid(WalletError),
    /// The chain refused, the buyer is refunded, and the listing is open again. The repair of a refund does not know the reason.
    Refused(Option<ChainError>),
}

/// A step that ended without a result. The repair continues the order.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.order_id, .step, .source))]
pub struct UndecidedError {
    pub order_id: String,
    pub step: Step,
    pub source: StepError,
}

/// A step of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Reserve,
    Pay,
    Transfer,
    PayOut,
    Refund,
    /// Stores the result of a step.
    Store,
}

/// The reason why a step ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the order cannot be stored")]
    Database(#[from] DbErr),
    #[error("another instance continues the order")]
    TakenOver,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserve => "the reservation of the listing",
            Self::Pay => "the payment of the buyer",
            Self::Transfer => "the transfer of the token",
            Self::PayOut => "the payment to the seller",
            Self::Refund => "the refund of the buyer",
            Self::Store => "the state of the order",
        })
    }
}

impl Market {
    /// Runs the steps of an order from its status to its end.
    pub(super) async fn run(&self, order: &mut Order) -> Result<Outcome, UndecidedError> {
        let mut refusal = None;
        loop {
            match order.listing.status {
                Status::Open => return Err(undecided(order, Step::Reserve, StepError::TakenOver)),
                Status::Reserved => match self.pay(order).await? {
                    Ok(()) => self.store_paid(order).await?,
                    Err(refused) => {
                        self.stored(order, self.orders.reopen(order).await)?;
                        return Ok(Outcome::NotPaid(refused));
                    }
                },
                Status::Paid => match self.transfer(order).await? {
                    Ok(settled) => {
                        // Set the label before anything else can fail: the hash identifies the sale on the chain.
                        Transaction::current()
                            .set_label("tx_hash", &settled.tx_hash)
                            .set_custom_context("settlement", &settled);
                        let stored = self.orders.settle(order, &settled).await;
                        self.stored(order, stored)?;
                    }
                    Err(refused) => {
                        refusal = Some(refused);
                        let stored = self.orders.advance(order, Status::Refunding).await;
                        self.stored(order, stored)?;
                    }
                },
                Status::Refunding => {
                    self.credit(order, Step::Refund).await?;
                    self.stored(order, self.orders.reopen(order).await)?;
                    return Ok(Outcome::Refused(refusal));
                }
                Status::Settled | Status::Sold => return self.complete(order).await,
            }
        }
    }

    /// Pays the seller of a settled order. The sale is final even if the payment fails now.
    async fn complete(&self, order: &mut Order) -> Result<Outcome, UndecidedError> {
        let Some(settled) = order.settled() else {
            let missing = DbErr::Custom("a settled order has no transaction hash".to_owned());
            return Err(undecided(order, Step::Store, missing));
        };
        Transaction::current().set_label("tx_hash", &settled.tx_hash);
        let paid_out = match self.credit(order, Step::PayOut).await {
            Ok(()) => self.stored(order, self.orders.finish(order).await),
            Err(error) => Err(error),
        };
        match paid_out {
            Ok(()) => {
                self.announce(order).await;
                Ok(Outcome::Sold(settled))
            }
            Err(error) => Ok(Outcome::Unfinished(settled, error)),
        }
    }

    /// Debits the buyer. The inner error means that the wallet refuses the debit for good.
    pub(super) async fn pay(&self, order: &mut Order) -> Result<Result<(), WalletError>, UndecidedError> {
        self.hold(order).await?;
        let steps = [Step::Pay, Step::PayOut, Step::Refund];
        // An order that cannot be paid out or refunded later is not paid.
        if let Err(invalid) = steps.iter().try_for_each(|step| order.change(*step).validate()) {
            return Ok(Err(invalid.into()));
        }
        match self.change(order, Step::Pay).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if error.is_permanent() || matches!(error, WalletError::Balance(_)) => Ok(Err(error)),
            Err(error) => Err(undecided(order, Step::Pay, error)),
        }
    }

    pub(super) async fn store_paid(&self, order: &mut Order) -> Result<(), UndecidedError> {
        let stored = self.orders.advance(order, Status::Paid).await;
        if let Ok(false) = stored {
            let ended = self.orders.has_ended(order).await.map_err(|error| undecided(order, Step::Store, error))?;
            if ended {
                // Another process found that the balance was too low, and this process debited the buyer later.
                self.change(order, Step::Refund).await.map_err(|error| undecided(order, Step::Refund, error))?;
            }
        }
        self.stored(order, stored)
    }

    /// Transfers the token. The inner error means that the chain refuses the transfer.
    async fn transfer(&self, order: &mut Order) -> Result<Result<Settled, ChainError>, UndecidedError> {
        self.hold(order).await?;
        let transfer = Transfer {
            order_id: order.id.clone(),
            token_id: order.listing.token_id.clone(),
            from: order.listing.seller.clone(),
            to: order.buyer.clone(),
            price: order.listing.price.to_string(),
        };
        match self.chain.transfer(&transfer).await {
            Ok(settled) => Ok(Ok(settled)),
            Err(error) if error.is_refusal() => Ok(Err(error)),
            Err(error) => Err(undecided(order, Step::Transfer, error)),
        }
    }

    async fn credit(&self, order: &mut Order, step: Step) -> Result<(), UndecidedError> {
        self.hold(order).await?;
        self.change(order, step).await.map_err(|error| undecided(order, step, error))
    }

    /// Makes the wallet change of a step. A change that was already made is not made again.
    async fn change(&self, order: &Order, step: Step) -> Result<(), WalletError> {
        self.wallet.change(order.change(step)).await.map(|_| ())
    }

    async fn hold(&self, order: &mut Order) -> Result<(), UndecidedError> {
        let held = self.orders.hold(order).await;
        self.stored(order, held)
    }

    /// Converts the result of a change of the row into an error of the step.
    fn stored(&self, order: &Order, stored: Result<bool, DbErr>) -> Result<(), UndecidedError> {
        match stored {
            Ok(true) => Ok(()),
            Ok(false) => Err(undecided(order, Step::Store, StepError::TakenOver)),
            Err(error) => Err(undecided(order, Step::Store, error)),
        }
    }
}

impl Order {
    /// Returns the change of a step in the wallet.
    pub(super) fn change(&self, step: Step) -> Change {
        let Listing { seller, token_id, price, .. } = &self.listing;
        match step {
            Step::Pay => Change {
                user: self.buyer.clone(),
                key: pay_key(&self.id),
                amount: price.negated(),
                reason: format!("bought {token_id}"),
            },
            Step::Refund => refund(&self.id, self.buyer.clone(), *price, token_id),
            _ => Change {
                user: seller.clone(),
                key: format!("{ORDER_KEYS}{}:payout", self.id),
                amount: *price,
                reason: format!("sold {token_id}"),
            },
        }
    }
}

/// Returns the key of an order's debit.
pub(super) fn pay_key(order_id: &str) -> String {
    format!("{ORDER_KEYS}{order_id}:pay")
}

/// Returns the change that refunds the buyer of an order.
pub(super) fn refund(order_id: &str, buyer: String, price: Amount, token_id: &str) -> Change {
    let key = format!("{ORDER_KEYS}{order_id}:refund");
    Change { user: buyer, key, amount: price, reason: format!("refund of {token_id}") }
}

/// Returns the message of an [`UndecidedError`].
fn describe(order_id: &str, step: &Step, source: &StepError) -> String {
    match source {
        StepError::Wallet(error) if error.is_permanent() => format!("the wallet refuses {step} of order {order_id}"),
        _ => format!("{step} is not confirmed"),
    }
}

pub(super) fn undecided(order: &Order, step: Step, source: impl Into<StepError>) -> UndecidedError {
    UndecidedError { order_id: order.id.clone(), step, source: source.into() }
}
